//! `radiant user`: accounts by hand, beside a server that runs or without one. Whoever can write the
//! index needs no other permission.

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal, Write};

use clap::{Args, Subcommand, ValueEnum};

use super::CliError;
use super::flags::DataFlags;
use crate::app;
use crate::audit::Actor;
use crate::auth::{Access, NewUser, Role, Secret};
use crate::causes;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::page::Page;
use crate::db::users::{self, Profile, User};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add somebody; the first password is read from standard input, or made and shown.
    Add(AddArgs),
    /// Give somebody a new password, to be changed at the next log-in, and end all sessions.
    Password(PasswordArgs),
    /// Show who can come in.
    List(#[command(flatten)] DataFlags),
    /// Let somebody in no longer.
    Disable(OneArgs),
    /// Let somebody in again.
    Enable(OneArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    #[command(flatten)]
    data: DataFlags,
    /// What is typed at log-in.
    name: String,
    /// For people and documents; the name where it is left out.
    #[arg(long)]
    display_name: Option<String>,
    /// May be given more than once.
    #[arg(long, required = true, value_name = "ROLE", value_parser = role)]
    role: Vec<Role>,
    #[arg(long, value_enum, default_value_t)]
    password: Source,
}

#[derive(Debug, Args)]
pub(super) struct PasswordArgs {
    #[command(flatten)]
    of: OneArgs,
    #[arg(long, value_enum, default_value_t)]
    password: Source,
}

#[derive(Debug, Args)]
pub(super) struct OneArgs {
    #[command(flatten)]
    data: DataFlags,
    /// What is typed at log-in.
    name: String,
}

/// Never an argument: those are seen by everybody on the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Source {
    /// Made and shown.
    #[default]
    Made,
    /// The first line of standard input.
    Stdin,
}

fn role(name: &str) -> Result<Role, String> {
    let known = || Role::ALL.map(Role::as_str).join(", ");
    Role::named(name).ok_or_else(|| format!("a role is one of {}", known()))
}

pub(super) async fn run(command: &UserCommand) -> Result<(), CliError> {
    match command {
        UserCommand::Add(args) => add(args).await,
        UserCommand::Password(args) => password(args).await,
        UserCommand::List(data) => list(data).await,
        UserCommand::Disable(args) => set_disabled(args, true).await,
        UserCommand::Enable(args) => set_disabled(args, false).await,
    }
}

async fn open(data: &DataFlags) -> Result<(Access, crate::db::Db), CliError> {
    let mut config = Config::load(&data.overrides())?;
    // The identity provider is not asked here, and may be what is broken tonight.
    config.auth.oidc.issuer.clear();
    let db = app::open_index(&config)?;
    Ok((Access::new(db.clone(), Clock::System, &config).map_err(failed)?, db))
}

async fn add(args: &AddArgs) -> Result<(), CliError> {
    let (access, _) = open(&args.data).await?;
    let new = NewUser {
        name: args.name.clone(),
        display_name: args.display_name.clone().unwrap_or_else(|| args.name.clone()),
        email: None,
        roles: BTreeSet::from_iter(args.role.iter().copied()),
        password: given(args.password)?,
        provider: None,
    };
    let (user, made) = access.create_user(new, &by()).await.map_err(failed)?;
    show(&user, "added", made.as_ref())
}

async fn password(args: &PasswordArgs) -> Result<(), CliError> {
    let (access, _) = open(&args.of.data).await?;
    let user = access.user_named(&args.of.name).await.map_err(failed)?;
    let made = access.reset_password(&user, given(args.password)?, &by()).await.map_err(failed)?;
    show(&user, "has a new password", made.as_ref())
}

async fn list(data: &DataFlags) -> Result<(), CliError> {
    let (_, db) = open(data).await?;
    let mut page = Page::first("account.name_key", false, 1000);
    let mut out = io::stdout().lock();
    loop {
        let found = users::list(&db, None, None, &page).await.map_err(failed)?;
        for user in &found.items {
            writeln!(out, "{}", line(user))?;
        }
        match found.next {
            Some(after) => page.after = Some(after),
            None => return Ok(()),
        }
    }
}

async fn set_disabled(args: &OneArgs, disabled: bool) -> Result<(), CliError> {
    let (access, _) = open(&args.data).await?;
    let user = access.user_named(&args.name).await.map_err(failed)?;
    let to = Profile {
        display_name: user.display_name.clone(),
        email: user.email.clone(),
        roles: user.roles.clone(),
        disabled,
    };
    let user = access.change_user(&user, &to, &by()).await.map_err(failed)?;
    show(&user, if disabled { "is disabled" } else { "is let in again" }, None)
}

fn given(source: Source) -> Result<Option<Secret>, CliError> {
    if source == Source::Made {
        return Ok(None);
    }
    if io::stdin().is_terminal() {
        eprintln!("the password, in one line (it is shown as it is typed):");
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(Some(Secret::new(line.trim_end_matches(['\r', '\n']))))
}

fn show(user: &User, what: &str, made: Option<&Secret>) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{} {what}", user.name)?;
    if let Some(made) = made {
        writeln!(out, "password until the first log-in: {}", made.reveal())?;
    }
    Ok(())
}

fn line(user: &User) -> String {
    let roles: Vec<&str> = user.roles.iter().map(|role| role.as_str()).collect();
    let last = user.last_login_at.map_or_else(|| "never".to_owned(), |at| at.rfc3339());
    let state = if user.disabled { "disabled" } else { "enabled" };
    format!("{}\t{}\t{state}\tlast log-in {last}", user.name, roles.join(","))
}

fn by() -> Actor {
    Actor::program("radiant user")
}

fn failed(error: impl std::error::Error) -> CliError {
    CliError::User(causes::chain(&error))
}
