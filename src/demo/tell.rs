//! The demo from its beginning to its verdict.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    alphapulse::{APP, OWNER, PLAN, TABLES},
    sabotage::Sabotage,
    screen::Screen,
    seed::Scale,
    stage::{Before, DATABASE, PLAN_PATH, Stage},
    story,
    systems::{SYSTEMS, Scene, System},
    traffic::{Report, Traffic},
};
use crate::exit::Exit;

/// What `tenantmig demo` was asked for.
#[derive(Debug, Clone, Default)]
pub struct DemoOptions {
    /// Leave the server running until Ctrl-C, and print its URLs.
    keep: bool,
    /// The step of the plan that is made to fail.
    fail_at: Option<Sabotage>,
    /// The system whose story is told; AlphaPulse's where there is none.
    system: Option<&'static System>,
}

impl DemoOptions {
    /// The error says which plans or steps there are, when there is none of this name.
    pub fn new(keep: bool, plan: Option<&str>, fail_at: Option<&str>) -> anyhow::Result<Self> {
        let system = match plan {
            None | Some("alphapulse") => None,
            Some(name) => Some(System::named(name).with_context(|| {
                let names: Vec<&str> = SYSTEMS.iter().map(|system| system.name).collect();
                format!("the demo has no plan `{name}`; it has: alphapulse, {}", names.join(", "))
            })?),
        };
        let text = system.map_or(PLAN, |system| system.plan);
        Ok(Self { keep, fail_at: fail_at.map(|step| Sabotage::at(text, step)).transpose()?, system })
    }
}

/// Plays the whole story on a throwaway server. The exit code is 0 when every proof held.
pub async fn run(options: DemoOptions) -> anyhow::Result<u8> {
    if let Some(system) = options.system {
        return tokio::select! {
            told = tell_of(system, &options) => told,
            signal = asked_to_end() => Ok(signal? as u8),
        };
    }
    // Dropping the story ends its server and its commands, and removes its folders.
    let (stage, exit) = tokio::select! {
        told = tell(options.fail_at.as_ref()) => told?,
        signal = asked_to_end() => return Ok(signal? as u8),
    };
    if options.keep {
        if let Err(error) = &exit {
            stage.screen.say(&format!("\nThe demo stopped: {error:#}"))?;
        }
        keep(&stage).await?;
    }
    Ok(exit? as u8)
}

/// The story of one of the other systems.
async fn tell_of(system: &'static System, options: &DemoOptions) -> anyhow::Result<u8> {
    let mut scene = Scene::set(system).await?;
    let played = scene.play(options.fail_at.as_ref()).await;
    let exit = played.and_then(|()| verdict(&scene.screen));
    if options.keep {
        scene.screen.say(&format!(
            "\nThe server stays until Ctrl-C. As the owner, the application and the superuser:\n  {}",
            scene.told()
        ))?;
        asked_to_end().await?;
    }
    Ok(exit? as u8)
}

/// The stage is handed back with the verdict, because the server ends with it.
async fn tell(fail_at: Option<&Sabotage>) -> anyhow::Result<(Stage, anyhow::Result<Exit>)> {
    let screen = Screen::new();
    screen.act("AlphaPulse: a live database, a tenant for every row, and back")?;
    let mut stage = Stage::set(screen, Scale::DEMO).await?;
    let planted = if fail_at.is_none() { story::plant_duplicates(&stage).await? } else { 0 };
    stage.screen.say(&format!(
        "{} tables of an application that knows no tenants, {} rows. The role `{OWNER}` owns them, and is neither superuser\n\
         nor BYPASSRLS; the application works as `{APP}`, from now on and all the time: 3 sessions write and 2 read.",
        TABLES.len(),
        stage.scale.total()
    ))?;
    let code = stage.program.run(&stage.screen, &["validate", PLAN_PATH]).await?;
    stage.screen.proof(code == 0, &format!("the plan is valid: exit code {code}"))?;
    let before = stage.look().await?;
    let traffic = Traffic::start(&stage.app_url(), stage.scale);
    let played = play(&mut stage, fail_at, planted > 0).await;
    let report = traffic.stop().await;
    let exit = match played {
        Ok(()) => conclude(&mut stage, &before, &report, planted).await,
        Err(error) => Err(error),
    };
    Ok((stage, exit))
}

async fn conclude(stage: &mut Stage, before: &Before, report: &Report, planted: u64) -> anyhow::Result<Exit> {
    stage.screen.act("As if nothing had happened")?;
    story::as_before(stage, before).await?;
    acknowledged(stage, report, planted).await?;
    verdict(&stage.screen)
}

async fn play(stage: &mut Stage, fail_at: Option<&Sabotage>, duplicates: bool) -> anyhow::Result<()> {
    if let Some(sabotage) = fail_at {
        story::fail_at(stage, sabotage).await?;
    }
    let killed = story::kill(stage).await?;
    story::resume(stage, &killed, duplicates).await?;
    if duplicates {
        story::mend(stage).await?;
    }
    story::isolation(stage).await?;
    story::again(stage).await?;
    story::to_phase(stage).await?;
    story::to_start(stage).await
}

/// What the application saw of all this.
async fn acknowledged(stage: &mut Stage, report: &Report, planted: u64) -> anyhow::Result<()> {
    let kept = report.receipts.compare(&stage.eye, stage.scale, planted).await?;
    let (writers, readers) = (&report.writers, &report.readers);
    let none = "none".to_owned();
    stage.screen.proof(
        kept.lost == 0 && kept.changed == 0 && kept.unexplained == 0 && kept.rows > 0,
        &format!(
            "every acknowledged write is there once: {} writes of {} rows; {} lost, {} changed, {} that nobody made",
            report.receipts.writes, kept.rows, kept.lost, kept.changed, kept.unexplained
        ),
    )?;
    for (who, tally) in [("writers", writers), ("readers", readers)] {
        stage.screen.proof(
            tally.errors == 0 && tally.transactions > 0,
            &format!(
                "{who}: {} transactions, {} errors (first: {}); 99% within {} ms, the slowest took {} ms",
                tally.transactions,
                tally.errors,
                tally.first_error.as_ref().unwrap_or(&none),
                tally.within(990).as_millis(),
                tally.worst.as_millis()
            ),
        )?;
    }
    stage.screen.proof(
        readers.foreign_rows == 0 && readers.isolated_reads > 0,
        &format!(
            "readers: {} reads while row-level security was in force, {} rows of another tenant",
            readers.isolated_reads, readers.foreign_rows
        ),
    )?;
    Ok(())
}

fn verdict(screen: &Screen) -> anyhow::Result<Exit> {
    let seconds = screen.elapsed().as_secs();
    let failed = screen.failed();
    if failed.is_empty() {
        screen.say(&format!("\n{} proofs, and all hold. {seconds} s.", screen.held()))?;
        return Ok(Exit::Done);
    }
    screen.say(&format!("\n{} proofs hold and {} do not:", screen.held(), failed.len()))?;
    for claim in failed {
        screen.say(&format!("  ✗ {claim}"))?;
    }
    Ok(Exit::Failed)
}

/// The server ends with this process, so this process stays.
async fn keep(stage: &Stage) -> anyhow::Result<()> {
    stage.screen.say(&format!(
        "\nThe server stays until Ctrl-C. As the owner, the application and the superuser:\n  {}\n  {}\n  {}\nThe plan: {}",
        stage.cluster.url_as(OWNER, DATABASE),
        stage.app_url(),
        stage.cluster.url(DATABASE),
        stage.folder.path().join(PLAN_PATH).display()
    ))?;
    asked_to_end().await.map(drop)
}

/// Returns when a signal asks for the end, with its exit code.
async fn asked_to_end() -> anyhow::Result<Exit> {
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt.map(|()| Exit::Interrupted)?),
        _ = terminate.recv() => Ok(Exit::Terminated),
        _ = hangup.recv() => Ok(Exit::Terminated),
    }
}
