//! Isolation, asked as the application: canonical policies pass, each broken one is caught by the probe that is meant for it.

mod around;
mod broken;
mod canonical;
mod gate;
mod ground;
mod hostile;
mod pooler;
mod verify;
