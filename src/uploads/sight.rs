//! What a caller reached when an upload began, kept for the job that stores it long after.

use crate::auth::Reach;

/// Which drafts he saw is nothing to a job that only stores. `*`, or the numbers of groups, with `+` in front where studies of no group are seen too.
pub fn written(reach: &Reach) -> String {
    match reach {
        Reach::Everything | Reach::Released => "*".to_owned(),
        Reach::Groups { ids, ungrouped, .. } => {
            let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
            format!("{}{}", if *ungrouped { "+" } else { "" }, ids.join(","))
        }
    }
}

/// What cannot be read reaches nothing.
pub fn read(text: &str) -> Reach {
    if text == "*" {
        return Reach::Everything;
    }
    let (ungrouped, ids) = text.strip_prefix('+').map_or((false, text), |ids| (true, ids));
    let ids: Result<Vec<i64>, _> = ids.split(',').filter(|id| !id.is_empty()).map(str::parse).collect();
    ids.map_or_else(|_| Reach::nothing(), |ids| Reach::Groups { ids, ungrouped, drafts: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reach_is_what_it_was() {
        let groups = |ids: &[i64], ungrouped| Reach::Groups { ids: ids.to_vec(), ungrouped, drafts: false };
        for reach in [Reach::Everything, groups(&[], false), groups(&[3, 7], true), groups(&[3], false)] {
            assert_eq!(read(&written(&reach)), reach);
        }
        assert_eq!(read("x"), Reach::nothing());
    }
}
