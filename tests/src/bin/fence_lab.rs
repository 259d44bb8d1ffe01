//! `fence_lab`: the fence agent of the lab's power distribution, told on its standard input as those of ClusterLabs. See
//! `headship_tests::lab::power`.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a command line program")]

use std::process::ExitCode;

use headship_tests::lab::power;

fn main() -> ExitCode {
    let told = std::io::read_to_string(std::io::stdin());
    let ended = told.map_err(|error| error.to_string()).and_then(|told| power::agent(&told));
    match ended {
        Ok(ended) => {
            println!("{}", ended.said);
            ExitCode::from(ended.status)
        }
        Err(why) => {
            eprintln!("fence_lab: {why}");
            ExitCode::FAILURE
        }
    }
}
