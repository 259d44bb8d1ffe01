//! How a master-fc that is told to end parts with its office.
//!
//! The signal is the same for a restart and for a stop; only systemd knows which it is.

/// What systemd says of the end that a signal asked for; none where it does not run, or did not answer in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ending {
    /// Whether the whole host goes down.
    pub shutting_down: Option<bool>,
    /// Whether it is at stopping this program, rather than at starting it again, or at nothing.
    pub stops_us: Option<bool>,
}

/// How office is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Farewell {
    /// In order: the services are stopped and office is ceded.
    Cede,
    /// Not at all: the next process resumes it, and the services run on.
    HandOver,
}

impl Ending {
    /// Office is ceded only if it is known that nobody comes back. Without a job of systemd somebody sent the signal by hand;
    /// and if nothing is known, handing over changes nothing for the services, and D sees to the rest.
    pub fn farewell(self) -> Farewell {
        if self.shutting_down == Some(true) || self.stops_us == Some(true) {
            Farewell::Cede
        } else {
            Farewell::HandOver
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn office_is_ceded_only_if_nobody_comes_back() {
        for silent in [None, Some(false)] {
            let host = Ending { shutting_down: Some(true), stops_us: silent };
            let program = Ending { shutting_down: silent, stops_us: Some(true) };
            assert_eq!([host, program].map(Ending::farewell), [Farewell::Cede; 2]);
        }
    }

    #[test]
    fn a_restart_a_signal_by_hand_and_a_silent_systemd_hand_over() {
        for (shutting_down, stops_us) in
            [(None, None), (Some(false), None), (None, Some(false)), (Some(false), Some(false))]
        {
            let ending = Ending { shutting_down, stops_us };
            assert_eq!(ending.farewell(), Farewell::HandOver, "{ending:?}");
        }
        assert_eq!(Ending::default().farewell(), Farewell::HandOver, "no systemd");
    }
}
