//! `radiant model fetch REPO`: a model from a hub into a folder of its own.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use crate::cli::flags::DataFlags;
use crate::cli::{CliError, progress, sentence};
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::{self, Acceptance, Folder, Hub, Means, Plan, RepoId, Revision, Terms, Told};

/// Below `server.data_dir`.
const MODELS: &str = "models";

#[derive(Debug, Args)]
pub(in crate::cli) struct FetchArgs {
    /// OWNER/NAME, as in google/medgemma-1.5-4b-it.
    repo: RepoId,
    /// A branch, a tag or a commit.
    #[arg(long, default_value = "main")]
    revision: Revision,
    /// The folder of the model; models/OWNER--NAME in the data folder where it is left out.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Files by name, with * and ?, in place of those that the engine needs; may be given more than once.
    #[arg(long = "file", value_name = "GLOB")]
    files: Vec<String>,
    /// Accept the terms of the model, which are shown.
    #[arg(long)]
    accept_terms: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) async fn run(args: &FetchArgs) -> Result<(), CliError> {
    let config = Config::load(&args.data.overrides())?;
    let hub = Hub::new(&config.model.hub)?;
    let listing = hub.listing(&args.repo, &args.revision).await?;
    let files = hub::choose(&listing, &args.files)?;
    let (dir, terms) = (args.dir(&config), Terms::of(&listing));
    println!("model       {} at {}", listing.repo, listing.commit);
    terms.lines().iter().for_each(|line| println!("terms       {line}"));
    let accepted = accept(args, &dir, &terms)?;
    let folder = Folder::open(&dir, &listing)?;
    if let Some(accepted) = accepted {
        folder.note_acceptance(&accepted)?;
    }
    let plan = Plan { listing: &listing, files, folder: &folder, terms: &terms };
    println!("files       {}, {} bytes", plan.files.len(), plan.bytes());
    let bar = progress::bytes(plan.bytes());
    let fetched = hub.fetch(&plan, &Clock::System, &|told| tell(&bar, told)).await;
    bar.finish_and_clear();
    fetched?;
    println!("folder      {}", dir.display());
    println!("next        radiant model check {0}, then model.dir = \"{0}\"", dir.display());
    Ok(())
}

impl FetchArgs {
    fn dir(&self, config: &Config) -> PathBuf {
        let own = || config.server.data_dir.join(MODELS).join(self.repo.folder_name());
        self.to.clone().unwrap_or_else(own)
    }
}

/// None where nothing has to be accepted, or somebody has done it here before.
fn accept(args: &FetchArgs, dir: &Path, terms: &Terms) -> Result<Option<Acceptance>, CliError> {
    let before = hub::acceptance(dir)?.filter(|before| before.covers(&args.repo));
    if !terms.must_be_accepted() {
        return Ok(None);
    }
    if let Some(before) = before {
        println!("accepted    by {} at {}", before.accepted_by, before.accepted_at);
        return Ok(None);
    }
    let means = match args.accept_terms {
        true => Means::Flag,
        false => typed()?,
    };
    let now = Clock::System.now().rfc3339();
    Ok(Some(terms.accepted(&args.repo, &operator(), &now, means)))
}

fn typed() -> Result<Means, CliError> {
    let refused = |why: &str| Err(CliError::Model(format!("nothing is fetched: {why}")));
    if !io::stdin().is_terminal() {
        return refused("these terms have to be accepted; --accept-terms does it");
    }
    print!("Type \"accept\" to accept these terms: ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "accept" => Ok(Means::Typed),
        _ => refused("the terms were not accepted"),
    }
}

/// The account of the operating system, by its name where this machine knows it.
fn operator() -> String {
    use std::os::unix::fs::MetadataExt;

    let Ok(process) = std::fs::metadata("/proc/self") else { return "unknown".to_owned() };
    let uid = process.uid().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid {uid}"))
}

fn tell(bar: &ProgressBar, told: Told) {
    match told {
        Told::Came(bytes) => bar.inc(bytes),
        Told::Lost(bytes) => bar.dec(bytes),
        Told::Done(file) => bar.suspend(|| println!("fetched     {}", file.name)),
        Told::Again { file, error, after } => bar.suspend(|| {
            eprintln!("{}: {}; again in {:.1} s", file.name, sentence(error), after.as_secs_f64());
        }),
    }
}
