//! The terminal, which is set back however this ends.

use std::io::{self, Stdout, Write as _};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Position, Rect};

use super::draw::draw;
use super::state::State;

/// Whether the terminal has to be set back.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, as long as this is not dropped.
#[derive(Debug)]
pub struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    /// Takes it.
    pub fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        // So that what a panic says is seen.
        HOOK.call_once(|| {
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                set_back();
                hook(panic);
            }));
        });
        let taken = enter().and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        if taken.is_err() {
            set_back();
        }
        taken.map(Self)
    }

    pub fn draw(&mut self, state: &mut State) -> io::Result<()> {
        self.0.draw(|frame| draw(frame, state)).map(drop)
    }

    /// Has it as it was while `action` runs.
    pub fn without(&mut self, action: impl FnOnce()) -> io::Result<()> {
        set_back();
        action();
        enter()?;
        // So that all of it is drawn. Its `clear` asks the terminal where the cursor stands, and
        // reads what is typed instead of an answer.
        let area = Rect::from((Position::ORIGIN, self.0.size()?));
        self.0.resize(area)
    }

    /// Takes it again, after this process was stopped and a shell had it.
    pub fn retake(&mut self) -> io::Result<()> {
        self.without(|| ())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        set_back();
    }
}

fn enter() -> io::Result<()> {
    IS_TAKEN.store(true, SeqCst);
    enable_raw_mode()?;
    let mut out = io::stdout();
    queue!(out, EnterAlternateScreen)?;
    out.flush()
}

/// Sets it back, as far as it is there. Where that fails there is no other way.
fn set_back() {
    if IS_TAKEN.swap(false, SeqCst) {
        let _ = disable_raw_mode();
        let mut out = io::stdout();
        let _ = queue!(out, LeaveAlternateScreen, Show);
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::tcgetattr;

    use super::*;

    #[test]
    #[ignore = "the test below runs it, on a terminal of its own"]
    fn it_panics() {
        let _screen = Screen::take().expect("a terminal");
        panic!("what went wrong");
    }

    #[test]
    fn a_panic_is_seen_on_a_terminal_that_is_as_it_was() {
        let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&far).and_then(|()| unlockpt(&far)).expect("it is ours");
        let name = ptsname(&far, Vec::new()).expect("a name").into_string().expect("UTF-8");
        let near = OpenOptions::new().read(true).write(true).open(name).expect("a terminal");
        let before = tcgetattr(&near).expect("a terminal").local_modes;
        let open = || Stdio::from(near.try_clone().expect("a terminal"));
        let mut command = Command::new(std::env::current_exe().expect("this one"));
        command.args(["--exact", "--ignored", "--nocapture", "top::screen::tests::it_panics"]);
        command.stdin(open()).stdout(open()).stderr(open());
        let mut child = command.spawn().expect("it starts");
        drop(command);
        let mut shown = String::new();
        let mut far = File::from(far);
        let mut bytes = [0; 4096];
        while !shown.contains("test result") {
            let length = far.read(&mut bytes).expect("a terminal");
            shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        child.wait().expect("a child");
        assert_eq!(tcgetattr(&near).expect("a terminal").local_modes, before);
        let back = shown.find("\x1b[?1049l").expect("it was given back");
        let said = shown.find("what went wrong").expect("it was said");
        assert!(back < said, "{shown:?}");
        assert!(shown[back..].contains("\x1b[?25h"), "{shown:?}");
    }
}
