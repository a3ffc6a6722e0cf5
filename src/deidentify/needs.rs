//! What an IOD needs of the attributes whose action depends on it (PS3.15 E.3: "unless … is required to
//! maintain IOD conformance"): the types of PS3.3, at the root by SOP class, in items by the sequence.

use Need::{One, Two};

/// The type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// May be empty.
    Two,
    /// Has a value.
    One,
}

/// What the SOP class, or the sequence around it, needs of an attribute; nothing where it is of type 3.
pub(super) fn need(tag: u32, sequence: Option<u32>, sop_class: &str) -> Option<Need> {
    match sequence {
        Some(sequence) => {
            let row = IN_ITEMS.iter().filter(|row| row.0 == tag && row.2.contains(&sequence));
            row.map(|row| row.1).max()
        }
        None => {
            let everywhere = EVERYWHERE.iter().filter(|row| row.0 == tag).map(|row| row.1);
            let suffix = sop_class.strip_prefix(STORAGE).unwrap_or_default();
            let here =
                IN_CLASSES.iter().filter(|row| row.0 == tag && row.2.split(' ').any(|class| class == suffix));
            everywhere.chain(here.map(|row| row.1)).max()
        }
    }
}

/// Of all SOP classes below.
const STORAGE: &str = "1.2.840.10008.5.1.4.";

/// At the root of every IOD that has it.
const EVERYWHERE: &[(u32, Need)] = &[
    (0x0010_2203, Two), // PatientSexNeutered
    (0x0040_0555, Two), // AcquisitionContextSequence
    (0x0040_A032, One), // ObservationDateTime
    (0x0040_B020, One), // WaveformAnnotationSequence
    (0x2200_0002, Two), // LabelText
    (0x3008_0054, One), // FirstTreatmentDate
    (0x3008_0056, One), // MostRecentTreatmentDate
    (0x3008_0250, One), // TreatmentDate
    (0x3008_0251, One), // TreatmentTime
    (0x300A_0006, One), // RTPlanDate
    (0x300A_0007, One), // RTPlanTime
    (0x300E_0008, Two), // ReviewerName
];

/// In the items of these sequences.
const IN_ITEMS: &[(u32, Need, &[u32])] = &[
    // SeriesDate
    (0x0008_0021, One, &[0x3006004C]),
    // AcquisitionDateTime
    (0x0008_002A, One, &[0x00189506]),
    // SeriesTime
    (0x0008_0031, One, &[0x3006004C]),
    // InstitutionName
    (
        0x0008_0080,
        One,
        &[0x00080096, 0x0008009D, 0x00081049, 0x00081052, 0x00081062, 0x00081072, 0x00700086, 0x300A0746],
    ),
    // InstitutionName
    (
        0x0008_0080,
        Two,
        &[
            0x0040A078, 0x0040A07A, 0x0040A07C, 0x00440103, 0x00820017, 0x3006004D, 0x3006004E, 0x300A0206,
            0x30100019,
        ],
    ),
    // InstitutionCodeSequence
    (
        0x0008_0082,
        One,
        &[
            0x00080096, 0x0008009D, 0x00081049, 0x00081052, 0x00081062, 0x00081072, 0x00440100, 0x00700086,
            0x300A0746,
        ],
    ),
    // InstitutionCodeSequence
    (
        0x0008_0082,
        Two,
        &[0x0040A078, 0x0040A07A, 0x0040A07C, 0x00440103, 0x00820017, 0x3006004D, 0x3006004E, 0x30100019],
    ),
    // StationName
    (
        0x0008_1010,
        Two,
        &[0x00081072, 0x0040A078, 0x0040A07A, 0x00440103, 0x00820017, 0x3006004D, 0x3006004E, 0x30100019],
    ),
    // StationName
    (0x0008_1010, One, &[0x00189506]),
    // OperatorsName
    (0x0008_1070, One, &[0x00189506]),
    // OperatorsName
    (0x0008_1070, Two, &[0x30080060]),
    // OperatorIdentificationSequence
    (0x0008_1072, One, &[0x00189506, 0x30080060]),
    // ReferencedStudySequence
    (0x0008_1110, Two, &[0x0040A370]),
    // ReferencedStudySequence
    (0x0008_1110, One, &[0x30020132, 0x3010005F, 0x30100076]),
    // ReferencedImageSequence
    (
        0x0008_1140,
        One,
        &[
            0x00081115, 0x00189472, 0x00189832, 0x00283001, 0x00283110, 0x00286100, 0x00289505, 0x00409094,
            0x00640002, 0x00700001, 0x0070005A, 0x00700308, 0x00700318, 0x0070031C, 0x0070120A, 0x00701301,
            0x00701B01, 0x300C0116,
        ],
    ),
    // ReferencedImageSequence
    (0x0008_1140, Two, &[0x00720422, 0x52009229, 0x52009230]),
    // SourceImageSequence
    (0x0008_2112, Two, &[0x00089124]),
    // SourceImageSequence
    (0x0008_2112, One, &[0x00189507]),
    // DeviceSerialNumber
    (
        0x0018_1000,
        Two,
        &[
            0x00185011, 0x00189556, 0x30020117, 0x300800A1, 0x300A0206, 0x300A0614, 0x300A063A, 0x300A064D,
            0x300A0651, 0x300A0662, 0x300A066A, 0x300A0671, 0x300A0673, 0x300A0686, 0x300A0743, 0x300A078F,
            0x300C0128, 0x30100026,
        ],
    ),
    // DeviceSerialNumber
    (0x0018_1000, One, &[0x00189506]),
    // ProtocolName
    (0x0018_1030, One, &[0x00189506]),
    // AcquisitionDeviceProcessingDescription
    (0x0018_1400, One, &[0x00189506]),
    // DetectorID
    (0x0018_700A, One, &[0x00189506]),
    // DateOfLastDetectorCalibration
    (0x0018_700C, One, &[0x00189506]),
    // TimeOfLastDetectorCalibration
    (0x0018_700E, One, &[0x00189506]),
    // StartAcquisitionDateTime
    (0x0018_9516, One, &[0x00189507]),
    // EndAcquisitionDateTime
    (0x0018_9517, One, &[0x00189507]),
    // RequestedProcedureDescription
    (0x0032_1060, Two, &[0x0040A370]),
    // ObservationDateTime
    (0x0040_A032, One, &[0x0040A730]),
    // SourceSerialNumber
    (0x3008_0105, Two, &[0x30080100]),
    // TreatmentDate
    (0x3008_0250, One, &[0x30080240]),
    // TreatmentTime
    (0x3008_0251, One, &[0x30080240]),
    // TreatmentMachineName
    (0x300A_00B2, Two, &[0x300A00B0, 0x300A0206, 0x300A03A2]),
    // IntendedPhaseStartDate
    (0x3010_004C, One, &[0x3010004B]),
    // IntendedPhaseEndDate
    (0x3010_004D, One, &[0x3010004B]),
    // RTTreatmentApproachLabel
    (0x3010_0056, One, &[0x30100057]),
    // TreatmentSite
    (0x3010_0077, One, &[0x300C0116, 0x30100057]),
];

/// At the root of the IODs of these SOP classes.
const IN_CLASSES: &[(u32, Need, &str)] = &[
    // InstanceCreationDate
    (0x0008_0012, One, WITH_INSTANCE_CREATION),
    // InstanceCreationTime
    (0x0008_0013, One, WITH_INSTANCE_CREATION),
    // SeriesDate
    (0x0008_0021, One, WITH_SERIES_DATE),
    // SeriesTime
    (0x0008_0031, One, WITH_SERIES_DATE),
    // AcquisitionDate
    (0x0008_0022, Two, WITH_ACQUISITION),
    // AcquisitionTime
    (0x0008_0032, Two, WITH_ACQUISITION),
    // AcquisitionDateTime
    (
        0x0008_002A,
        One,
        "1.1.12.1.1 1.1.12.2.1 1.1.128.1 1.1.13.1.4 1.1.13.1.5 1.1.130 1.1.14.1 1.1.14.2 1.1.2.1 1.1.2.2 \
     1.1.3.1 1.1.4.1 1.1.4.2 1.1.4.3 1.1.4.4 1.1.6.1 1.1.6.2 1.1.6.3 1.1.68.1 1.1.68.2 1.1.77.1.5.1 \
     1.1.77.1.5.2 1.1.77.1.5.4 1.1.77.1.5.5 1.1.77.1.5.6 1.1.77.1.6 1.1.81.1 1.1.82.1 1.1.9.1.1 \
     1.1.9.1.2 1.1.9.1.3 1.1.9.1.4 1.1.9.2.1 1.1.9.3.1 1.1.9.4.1 1.1.9.4.2 1.1.9.5.1 1.1.9.6.1 \
     1.1.9.6.2 1.1.9.7.1 1.1.9.7.2 1.1.9.7.3 1.1.9.7.4 1.1.9.8.1",
    ),
    // AcquisitionDateTime
    (0x0008_002A, Two, "1.1.104.1 1.1.104.2 1.1.104.3 1.1.104.4 1.1.104.5"),
    // OperatorsName
    (
        0x0008_1070,
        Two,
        "1.1.481.1 1.1.481.2 1.1.481.3 1.1.481.4 1.1.481.5 1.1.481.6 1.1.481.7 1.1.481.8 1.1.481.9",
    ),
    // ReferencedPerformedProcedureStepSequence
    (
        0x0008_1111,
        One,
        "1.1.1.1 1.1.1.1.1 1.1.1.2 1.1.1.2.1 1.1.1.3 1.1.1.3.1 1.1.12.1.1 1.1.12.2.1 1.1.128.1 \
     1.1.13.1.1 1.1.13.1.2 1.1.13.1.3 1.1.13.1.4 1.1.13.1.5 1.1.130 1.1.14.1 1.1.14.2 1.1.2.1 \
     1.1.2.2 1.1.200.2 1.1.200.8 1.1.30 1.1.4.1 1.1.4.2 1.1.4.3 1.1.4.4 1.1.481.10 1.1.481.11 \
     1.1.481.12 1.1.481.13 1.1.481.14 1.1.481.15 1.1.481.16 1.1.481.17 1.1.481.18 1.1.481.19 \
     1.1.481.20 1.1.481.21 1.1.481.22 1.1.481.23 1.1.481.24 1.1.481.25 1.1.6.2 1.1.6.3 1.1.66.4 \
     1.1.66.5 1.1.66.6 1.1.66.7 1.1.66.8 1.1.68.1 1.1.68.2 1.1.77.1.5.4 1.1.77.1.5.7 1.1.77.1.5.8 \
     1.1.77.1.6 1.1.78.1 1.1.78.2 1.1.78.3 1.1.78.4 1.1.78.5 1.1.78.7 1.1.78.8 1.1.80.1 1.1.81.1 \
     1.1.82.1 1.1.91.1",
    ),
    // ReferencedPerformedProcedureStepSequence
    (
        0x0008_1111,
        Two,
        "1.1.78.6 1.1.79.1 1.1.88.11 1.1.88.22 1.1.88.33 1.1.88.34 1.1.88.35 1.1.88.40 1.1.88.50 \
     1.1.88.59 1.1.88.65 1.1.88.67 1.1.88.68 1.1.88.69 1.1.88.70 1.1.88.71 1.1.88.72 1.1.88.73 \
     1.1.88.74 1.1.88.75 1.1.88.76 1.1.88.77",
    ),
    // ReferencedImageSequence
    (
        0x0008_1140,
        One,
        "1.1.12.1 1.1.12.2 1.1.77.1.1 1.1.77.1.1.1 1.1.77.1.2 1.1.77.1.2.1 1.1.77.1.3 1.1.77.1.4 \
     1.1.77.1.4.1 1.1.77.1.7 1.1.91.1",
    ),
    // SourceImageSequence
    (0x0008_2112, One, "1.1.6.2 1.1.77.1.5.7 1.1.81.1 1.1.82.1"),
    // SourceImageSequence
    (0x0008_2112, Two, "1.1.77.1.5.1 1.1.77.1.5.2 1.1.77.1.5.5 1.1.77.1.5.6"),
    // DeviceSerialNumber
    (
        0x0018_1000,
        One,
        "1.1.104.3 1.1.104.4 1.1.104.5 1.1.11.10 1.1.11.11 1.1.11.5 1.1.11.6 1.1.11.7 1.1.11.8 1.1.11.9 \
     1.1.12.1.1 1.1.12.2.1 1.1.128.1 1.1.13.1.1 1.1.13.1.2 1.1.13.1.3 1.1.13.1.4 1.1.13.1.5 1.1.130 \
     1.1.131 1.1.14.1 1.1.14.2 1.1.2.1 1.1.2.2 1.1.200.1 1.1.200.2 1.1.200.3 1.1.200.7 1.1.200.8 \
     1.1.30 1.1.4.1 1.1.4.2 1.1.4.3 1.1.4.4 1.1.481.10 1.1.481.11 1.1.481.12 1.1.481.13 1.1.481.14 \
     1.1.481.15 1.1.481.16 1.1.481.17 1.1.481.18 1.1.481.19 1.1.481.20 1.1.481.21 1.1.481.22 \
     1.1.481.23 1.1.481.24 1.1.481.25 1.1.6.2 1.1.6.3 1.1.66.3 1.1.66.4 1.1.66.5 1.1.66.6 1.1.66.7 \
     1.1.66.8 1.1.68.1 1.1.68.2 1.1.77.1.5.4 1.1.77.1.5.5 1.1.77.1.5.6 1.1.77.1.5.7 1.1.77.1.5.8 \
     1.1.77.1.6 1.1.77.1.7 1.1.77.1.8 1.1.77.1.9 1.1.78.1 1.1.78.2 1.1.78.3 1.1.78.4 1.1.78.5 \
     1.1.78.6 1.1.78.7 1.1.78.8 1.1.79.1 1.1.80.1 1.1.81.1 1.1.82.1 1.1.88.35 1.1.88.67 1.1.88.68 \
     1.1.88.69 1.1.88.70 1.1.88.71 1.1.88.72 1.1.88.73 1.1.88.74 1.1.88.75 1.1.88.76 1.1.88.77 \
     1.1.9.1.4 1.1.9.100.1 1.1.9.100.2 1.1.9.4.2 1.1.9.5.1 1.1.9.6.1 1.1.9.6.2 1.1.9.7.1 1.1.9.7.2 \
     1.1.9.7.3 1.1.9.7.4 1.1.9.8.1 1.1.90.1 1.1.91.1 34.10",
    ),
    // ProtocolName
    (0x0018_1030, One, "1.1.200.1 1.1.200.2 1.1.200.7 1.1.200.8"),
    // BarcodeValue
    (0x2200_0005, Two, "1.1.77.1.6"),
];

/// InstanceCreationDate and InstanceCreationTime.
const WITH_INSTANCE_CREATION: &str = "1.1.200.1 1.1.200.2 1.1.200.7 1.1.200.8 1.1.481.10 1.1.481.11 1.1.481.12 1.1.481.13 1.1.481.14 \
     1.1.481.15 1.1.481.16 1.1.481.17 1.1.481.18 1.1.481.19 1.1.481.20 1.1.481.21 1.1.481.22 \
     1.1.481.23 1.1.481.24 1.1.481.25";
/// SeriesDate and SeriesTime.
const WITH_SERIES_DATE: &str = "1.1.128 1.1.481.10 1.1.481.11 1.1.481.12 1.1.481.13 1.1.481.14 1.1.481.15 1.1.481.16 1.1.481.17 \
     1.1.481.18 1.1.481.19 1.1.481.20 1.1.481.21 1.1.481.22 1.1.481.23 1.1.481.24 1.1.481.25";
/// AcquisitionDate and AcquisitionTime.
const WITH_ACQUISITION: &str = "1.1.128";
