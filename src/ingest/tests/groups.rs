use super::*;
use crate::config::GroupRule;

async fn run(bench: &Bench, sql: &[&'static str]) {
    let batch = sql.iter().fold(Batch::new(), |batch, sql| batch.then(Statement::named("row", *sql)));
    bench.db.run(batch).await.unwrap();
}

/// Groups 1 (north) and 2 (south).
async fn bench(rules: Vec<GroupRule>) -> Bench {
    let mut bench = Bench::with(OnDuplicate::Replace);
    bench.ingest = bench.ingest.clone().assigning(Assignment { rules, of_uploader: true });
    let groups = "insert into owner_group (id, name, created_at, updated_at)
                  values (1, 'north', 0, 0), (2, 'south', 0, 0)";
    run(&bench, &[groups]).await;
    bench
}

fn member_of(group: i64) -> Reach {
    Reach::Groups { ids: vec![group], ungrouped: false, drafts: true }
}

fn refusal(stored: Result<Stored, Refused>) -> Option<&'static str> {
    stored.err().map(|refused| refused.refusal.name())
}

impl Bench {
    async fn bring(&self, object: InMemDicomObject, reach: &Reach) -> Result<Stored, Refused> {
        let origin = Origin::of(Source::Stow);
        let body = file(object);
        let received = Received { body: Body::Part10(body.as_slice()), origin: &origin, only_study: None };
        self.ingest.within(reach).store(received).await
    }

    async fn groups(&self, study: &str) -> Vec<String> {
        let sql = "select owner_group.name from study_group
                   join owner_group on owner_group.id = study_group.owner_group
                   where study_group.study_uid = $1 order by owner_group.name";
        let rows = self.db.read(Statement::named("groups", sql).bind(study)).await.unwrap();
        rows.iter().map(|row| row.text(0).unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_study_comes_to_the_groups_of_who_brings_its_first_instance() {
    let bench = bench(Vec::new()).await;
    bench.bring(image("1.2.3.4.5"), &member_of(1)).await.unwrap();
    assert_eq!(bench.groups("1.2.3").await, ["north"]);
    bench
        .bring(image("1.2.3.4.6"), &Reach::Groups { ids: vec![1, 2], ungrouped: false, drafts: true })
        .await
        .unwrap();
    assert_eq!(bench.groups("1.2.3").await, ["north"]);
}

#[tokio::test]
async fn nobody_adds_to_a_study_that_he_cannot_see() {
    let bench = bench(Vec::new()).await;
    bench.bring(image("1.2.3.4.5"), &member_of(1)).await.unwrap();
    let before = bench.count("instance").await;
    assert_eq!(refusal(bench.bring(image("1.2.3.4.6"), &member_of(2)).await), Some("out-of-reach"));
    assert_eq!((bench.count("instance").await, bench.count("change").await), (before, 1));
}

#[tokio::test]
async fn what_is_stored_under_a_uid_is_neither_told_nor_replaced() {
    let bench = bench(Vec::new()).await;
    bench.bring(image("1.2.3.4.5"), &member_of(1)).await.unwrap();
    let mut changed = image("1.2.3.4.5");
    changed.put(DataElement::new(tags::PATIENT_COMMENTS, VR::LT, "changed"));
    let mut elsewhere = image("1.2.3.4.5");
    elsewhere.put(DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.9"));
    let mut same_series = image("1.2.3.4.9");
    same_series.put(DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.9"));
    for object in [image("1.2.3.4.5"), changed, elsewhere, same_series] {
        assert_eq!(refusal(bench.bring(object, &member_of(2)).await), Some("out-of-reach"));
    }
    assert_eq!((bench.count("instance").await, bench.groups("1.2.3").await), (1, vec!["north".to_owned()]));
}

#[tokio::test]
async fn rules_name_groups_by_the_first_instance_and_make_them() {
    let rule = |groups: &[&str], institution: Option<&str>| GroupRule {
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        calling_aet: Vec::new(),
        issuer: Vec::new(),
        institution: institution.map(str::to_owned),
    };
    let rules = vec![
        rule(&["west"], Some("*west*")),
        rule(&["south"], None),
        GroupRule { issuer: vec!["EAST".to_owned()], ..rule(&["east"], None) },
        GroupRule { calling_aet: vec!["CT1".to_owned()], ..rule(&["ct"], None) },
    ];
    let bench = bench(rules).await;
    let mut western = image("1.2.3.4.5");
    western.put(DataElement::new(tags::INSTITUTION_NAME, VR::LO, "Clinic West 2"));
    bench.bring(western, &Reach::Everything).await.unwrap();
    assert_eq!(bench.groups("1.2.3").await, ["south", "west"]);
    let mut eastern = image("1.2.3.4.6");
    eastern.put(DataElement::new(tags::ISSUER_OF_PATIENT_ID, VR::LO, "EAST"));
    bench.bring(eastern, &Reach::Everything).await.unwrap();
    assert_eq!(bench.groups("1.2.3").await, ["south", "west"]);
}

#[tokio::test]
async fn a_uid_that_was_deleted_stays_with_its_group() {
    let bench = bench(Vec::new()).await;
    bench.bring(image("1.2.3.4.5"), &member_of(1)).await.unwrap();
    let scope = crate::query::Scope::Study("1.2.3".parse().unwrap());
    bench.ingest.delete(&scope, &crate::audit::Actor::system(), None).await.unwrap();
    for stranger in [Reach::nothing(), member_of(2)] {
        let again = bench.bring(image("1.2.3.4.5"), &stranger).await;
        assert_eq!(refusal(again), Some("out-of-reach"));
    }
    assert_eq!(bench.groups("1.2.3").await, ["north"]);
}
