//! Words of imaging, which tell nothing about anybody.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::report::codes;

const WORDS: &str = "a and at by for from in of on or per to with without no not above below between \
     abdomen abdominal aorta aortic ankle arm artery arteries arterial axilla bladder body bone bones brain breast \
     bronchus calf cardiac carotid cervical chest clavicle coccyx colon coronary cranial cranium elbow esophagus \
     extremity eye eyes face facial femoral femur fibula finger foot forearm gallbladder hand head heart hepatic \
     hip humerus iliac jaw kidney kidneys knee larynx leg liver lobe lower lumbar lung lungs mandible maxilla \
     mediastinum nasal neck orbit orbits ovary pancreas pelvic pelvis pelvi prostate pulmonary radius rectum renal \
     rib ribs sacrum scapula sella shoulder sinus sinuses skull spine spleen sternum stomach testis thigh thoracic \
     thorax thumb thyroid tibia toe tooth trachea ulna upper ureter uterus vein veins venous vertebra wrist \
     ac ap pa lat lateral left right bilateral median oblique anterior posterior superior inferior medial proximal \
     distal prone supine erect standing sitting decubitus frontal axial sagittal coronal transverse ax sag cor tra \
     cc mlo ml lm view views projection scout localizer localiser topogram survey plain \
     ct mr mri cr dx dr us pt pet nm xa rf mg sc sr pr ko spect cta mra mrcp angio angiography angiogram doppler \
     ultrasound radiograph fluoroscopy mammography tomography tomosynthesis perfusion diffusion contrast native \
     enhanced unenhanced early late delayed portal phase phases dynamic gated triggered breathhold breath hold \
     inspiration expiration free breathing bolus tracking gadolinium iodine iv oral kernel soft sharp standard \
     smooth detail window lung mip mpr minip vr vrt recon reconstruction reconstructed reformat thin thick slice \
     slices thickness spacing increment helical spiral sequential volume series image images study exam examination \
     protocol routine screening follow up followup baseline pre post pre-op postop intraoperative low high dose \
     t t1 t2 pd flair stir tse fse se gre ge epi dwi adc swi tof tfe ffe vibe lava dixon haste space ciss fiesta \
     mprage bravo cube trufi fisp flash spgr tirm ir fs fat sat saturated suppressed water phase magnitude b te tr \
     ti fa map maps trace fractional anisotropy mm cm m ml ma mas kv kvp s ms sec hu deg d x y z n \
     normal abnormal acute chronic mild moderate severe small large single multiple both report finding findings";

static KNOWN: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let coded = codes::coded().flat_map(|code| code.meaning.split(|c: char| !c.is_alphanumeric()));
    let words = WORDS.split(' ').chain(coded).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
});

pub(super) fn has(word: &str) -> bool {
    KNOWN.contains(&word.to_lowercase())
}
