//! Findings. Sources: PS3.16 context groups as named; "SNOMED CT" rows are disorder concepts of
//! the International Edition that no context group lists.

use super::{Code, Row, row};

pub(super) static ROWS: &[Row] = &[
    row(
        &["pleural effusion", "pleural effusions", "effusion of pleura"],
        Code::sct("60046008", "Pleural effusion"),
    ), // PS3.16 CID 8134
    row(&["pneumothorax"], Code::sct("36118008", "Pneumothorax")), // PS3.16 CID 6102
    row(&["pneumomediastinum"], Code::sct("16838000", "Pneumomediastinum")), // PS3.16 CID 6102
    row(
        &["cardiomegaly", "enlarged heart", "heart enlargement", "cardiac enlargement"],
        Code::sct("8186001", "Cardiomegaly"),
    ), // SNOMED CT, disorder
    row(&["pericardial effusion"], Code::sct("373945007", "Pericardial effusion")), // PS3.16 CID 12236
    row(&["atelectasis"], Code::sct("46621007", "Atelectasis")),   // SNOMED CT, disorder
    row(
        &["plate like atelectasis", "discoid atelectasis", "linear atelectasis"],
        Code::sct("40779009", "Plate-like atelectasis"),
    ), // PS3.16 CID 6102
    row(
        &["consolidation", "lung consolidation", "pulmonary consolidation"],
        Code::sct("95436008", "Lung consolidation"),
    ), // SNOMED CT, disorder
    row(&["pneumonia"], Code::sct("233604007", "Pneumonia")),      // SNOMED CT, disorder
    row(&["pulmonary edema", "pulmonary oedema"], Code::sct("19242006", "Pulmonary edema")), // PS3.16 CID 3700
    row(&["pulmonary embolism", "pulmonary emboli"], Code::sct("59282003", "Pulmonary embolism")), // PS3.16 CID 6102
    row(
        &["nodule", "nodules", "lung nodule", "pulmonary nodule", "pulmonary nodules"],
        Code::sct("27925004", "Nodule"),
    ), // PS3.16 CID 6102
    row(&["micronodule", "micronodules"], Code::dcm("112122", "Micronodule")), // PS3.16 CID 6102
    row(&["mass", "lung mass", "pulmonary mass"], Code::sct("4147007", "Mass")), // PS3.16 CID 6102
    row(&["opacity", "opacities", "lung opacity", "pulmonary opacity"], Code::dcm("112001", "Opacity")), // PS3.16 CID 6102
    row(&["ground glass opacity", "ground glass opacities"], Code::dcm("112120", "Ground glass opacity")), // PS3.16 CID 6102
    row(&["infiltrate", "infiltrates", "pulmonary infiltrate"], Code::dcm("112121", "Infiltrate")), // PS3.16 CID 6102
    row(&["reticular pattern"], Code::dcm("112113", "Reticular pattern")), // PS3.16 CID 6102
    row(&["reticulonodular pattern"], Code::dcm("112065", "Reticulonodular pattern")), // PS3.16 CID 6102
    row(&["honeycombing", "honeycomb pattern"], Code::dcm("112106", "Honeycomb pattern")), // PS3.16 CID 6102
    row(&["miliary pattern"], Code::dcm("112129", "Miliary pattern")),     // PS3.16 CID 6102
    row(&["mosaic pattern"], Code::dcm("112130", "Mosaic pattern")),       // PS3.16 CID 6102
    row(&["tree in bud", "tree in bud sign"], Code::dcm("112127", "Tree-in-bud sign")), // PS3.16 CID 6102
    row(&["air bronchogram", "air bronchograms"], Code::dcm("112071", "Air bronchogram")), // PS3.16 CID 6102
    row(&["air trapping"], Code::sct("76171001", "Air-trapping")),         // PS3.16 CID 6102
    row(&["air fluid level"], Code::dcm("112104", "Air-fluid level")),     // PS3.16 CID 6102
    row(&["lymphadenopathy"], Code::sct("30746006", "Lymphadenopathy")),   // PS3.16 CID 6347
    row(
        &["pulmonary metastasis", "pulmonary metastases", "lung metastases"],
        Code::sct("94391008", "Pulmonary metastasis"),
    ), // PS3.16 CID 645
    row(&["bone metastasis", "bone metastases"], Code::sct("94222008", "Bony metastasis")), // PS3.16 CID 6347
    row(&["aneurysm"], Code::sct("85659009", "Aneurysm")),                 // PS3.16 CID 3810
    row(&["cyst", "simple cyst"], Code::sct("367643001", "Cyst")),         // PS3.16 CID 6335
    row(&["lesion"], Code::sct("52988006", "Lesion")),                     // PS3.16 CID 6335
    row(&["hemorrhage", "haemorrhage"], Code::sct("50960005", "Hemorrhage")), // PS3.16 CID 6335
    row(
        &["intracranial hemorrhage", "intracranial haemorrhage"],
        Code::sct("1386000", "Intracranial hemorrhage"),
    ), // PS3.16 Annex D, SCT
    row(&["fibrosis"], Code::sct("112674009", "Fibrosis")),                // PS3.16 CID 6335
    row(&["renal stone", "kidney stone", "renal calculus"], Code::sct("386103008", "Renal stone")), // PS3.16 CID 300
    row(&["endotracheal tube"], Code::sct("26412008", "Endotracheal tube")), // PS3.16 CID 6404
    row(&["chest tube"], Code::dcm("112173", "Chest tube")),                 // PS3.16 CID 6404
    row(&["central line", "central venous catheter"], Code::dcm("112174", "Central line")), // PS3.16 CID 6404
    row(&["feeding tube", "nasogastric tube"], Code::sct("25062003", "Feeding tube")), // PS3.16 CID 6404
    row(&["pacemaker", "cardiac pacemaker"], Code::sct("14106009", "Cardiac pacemaker")), // PS3.16 CID 6404
];
