//! Anatomical sites, without their side: PS3.16 context groups as named.

use super::{Code, Row, row};

pub(super) static ROWS: &[Row] = &[
    row(&["lung", "lungs", "lung field", "lung fields"], Code::sct("39607008", "Lung")), // PS3.16 CID 6129
    row(&["upper lobe", "upper lobe of lung"], Code::sct("45653009", "Upper lobe of lung")), // PS3.16 CID 6126
    row(&["middle lobe", "middle lobe of lung"], Code::sct("72481006", "Middle lobe of right lung")), // PS3.16 CID 6126
    row(&["lower lobe", "lower lobe of lung"], Code::sct("90572001", "Lower lobe of lung")), // PS3.16 CID 6126
    row(
        &["upper lung zone", "upper zone", "upper zone of lung", "upper lung"],
        Code::sct("281392002", "Upper zone of lung"),
    ), // PS3.16 CID 6171
    row(
        &["middle lung zone", "mid lung zone", "middle zone", "mid zone", "middle zone of lung", "mid lung"],
        Code::sct("281393007", "Middle zone of lung"),
    ), // PS3.16 CID 6171
    row(
        &["lower lung zone", "lower zone", "lower zone of lung", "lower lung"],
        Code::sct("281394001", "Lower zone of lung"),
    ), // PS3.16 CID 6171
    row(&["lung apex", "apex", "apex of lung"], Code::sct("86598002", "Apex of Lung")), // PS3.16 CID 4031
    row(&["hilum", "hilar", "hilum of lung", "pulmonary hilum"], Code::sct("46750007", "Hilum of lung")), // PS3.16 CID 6111
    row(&["fissure", "fissure of lung"], Code::sct("278983006", "Fissure of lung")), // PS3.16 CID 6112
    row(&["pleura", "pleural", "pleural space"], Code::sct("3120008", "Pleura")),    // PS3.16 CID 7151
    row(&["mediastinum"], Code::sct("72410000", "Mediastinum")),                     // PS3.16 CID 6129
    row(&["heart", "cardiac", "cardiac silhouette"], Code::sct("80891009", "Heart")), // PS3.16 CID 4031
    row(&["pericardium"], Code::sct("76848001", "Pericardium")),                     // PS3.16 CID 7151
    row(&["chest", "thorax"], Code::sct("816094009", "Chest")),                      // PS3.16 CID 4031
    row(&["chest wall"], Code::sct("78904004", "Chest wall")),                       // PS3.16 CID 6129
    row(&["diaphragm"], Code::sct("5798000", "Diaphragm")),                          // PS3.16 CID 6109
    row(&["trachea"], Code::sct("44567001", "Trachea")),                             // PS3.16 CID 6109
    row(&["bronchus"], Code::sct("955009", "Bronchus")),                             // PS3.16 CID 6109
    row(&["carina"], Code::sct("28700002", "Carina")),                               // PS3.16 CID 6109
    row(&["esophagus", "oesophagus"], Code::sct("32849002", "Esophagus")),           // PS3.16 CID 6109
    row(&["rib", "ribs"], Code::sct("113197003", "Rib")),                            // PS3.16 CID 6109
    row(&["clavicle"], Code::sct("51299004", "Clavicle")),                           // PS3.16 CID 6109
    row(&["scapula"], Code::sct("79601000", "Scapula")),                             // PS3.16 CID 6109
    row(&["sternum"], Code::sct("56873002", "Sternum")),                             // PS3.16 CID 4031
    row(&["humerus"], Code::sct("85050009", "Humerus")),                             // PS3.16 CID 4031
    row(&["shoulder"], Code::sct("16982005", "Shoulder")),                           // PS3.16 CID 4031
    row(&["spine"], Code::sct("421060004", "Spine")),                                // PS3.16 CID 4031
    row(&["thoracic spine"], Code::sct("122495006", "Thoracic spine")),              // PS3.16 CID 4031
    row(&["lumbar spine"], Code::sct("122496007", "Lumbar spine")),                  // PS3.16 CID 4031
    row(&["cervical spine"], Code::sct("122494005", "Cervical spine")),              // PS3.16 CID 4031
    row(&["vertebra"], Code::sct("51282000", "Vertebra")),                           // PS3.16 CID 6114
    row(&["aorta"], Code::sct("15825003", "Aorta")),                                 // PS3.16 CID 6129
    row(&["aortic arch"], Code::sct("57034009", "Aortic arch")),                     // PS3.16 CID 4
    row(&["ascending aorta"], Code::sct("54247002", "Ascending aorta")),             // PS3.16 CID 4
    row(&["pulmonary artery", "pulmonary arteries"], Code::sct("81040000", "Pulmonary artery")), // PS3.16 CID 4
    row(&["superior vena cava"], Code::sct("48345005", "Superior vena cava")), // PS3.16 CID 4
    row(&["inferior vena cava"], Code::sct("64131007", "Inferior vena cava")), // PS3.16 CID 4
    row(&["left atrium"], Code::sct("82471001", "Left atrium")),               // PS3.16 CID 4
    row(&["right atrium"], Code::sct("73829009", "Right atrium")),             // PS3.16 CID 4
    row(&["left ventricle"], Code::sct("87878005", "Left ventricle")),         // PS3.16 CID 4
    row(&["liver"], Code::sct("10200004", "Liver")),                           // PS3.16 CID 4030
    row(&["gallbladder"], Code::sct("28231008", "Gallbladder")),               // PS3.16 CID 4031
    row(&["spleen"], Code::sct("78961009", "Spleen")),                         // PS3.16 CID 4030
    row(&["pancreas"], Code::sct("15776009", "Pancreas")),                     // PS3.16 CID 4030
    row(&["kidney", "kidneys"], Code::sct("64033007", "Kidney")),              // PS3.16 CID 4030
    row(&["adrenal gland", "adrenal"], Code::sct("23451007", "Adrenal gland")), // PS3.16 CID 4030
    row(&["stomach"], Code::sct("69695003", "Stomach")),                       // PS3.16 CID 4031
    row(&["small bowel", "small intestine"], Code::sct("30315005", "Small intestine")), // PS3.16 CID 4031
    row(&["colon"], Code::sct("71854001", "Colon")),                           // PS3.16 CID 4031
    row(&["bladder", "urinary bladder"], Code::sct("89837001", "Bladder")),    // PS3.16 CID 4031
    row(&["abdomen"], Code::sct("818981001", "Abdomen")),                      // PS3.16 CID 4031
    row(&["pelvis"], Code::sct("816092008", "Pelvis")),                        // PS3.16 CID 4031
    row(&["brain"], Code::sct("12738006", "Brain")),                           // PS3.16 CID 4030
    row(&["cerebellum"], Code::sct("113305005", "Cerebellum")),                // PS3.16 CID 4030
    row(&["head"], Code::sct("69536005", "Head")),                             // PS3.16 CID 4031
    row(&["neck"], Code::sct("45048000", "Neck")),                             // PS3.16 CID 4031
    row(&["thyroid"], Code::sct("69748006", "Thyroid")),                       // PS3.16 CID 4030
    row(&["breast"], Code::sct("76752008", "Breast")),                         // PS3.16 CID 4031
    row(&["lymph node", "lymph nodes"], Code::sct("59441001", "Lymph Node")),  // PS3.16 CID 6113
    row(&["soft tissue", "soft tissues"], Code::sct("87784001", "Soft tissue")), // PS3.16 CID 7151
];
