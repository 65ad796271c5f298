//! A real browser without a screen and without a network: Debian's Chromium, spoken to over a pair of pipes (DevTools protocol).

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// The names under which distributions have it.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// No answer takes longer, even on a loaded machine that starts the browser for the first time.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// The browser; it ends with the value.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    commands: File,
    answers: Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// What came without having been asked for.
    pub events: Vec<Value>,
    _home: tempfile::TempDir,
}

/// Where the browser is. A test that needs it and does not find it fails with what to install: a page that nobody looked at is
/// not shown to be readable.
fn program() -> PathBuf {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&paths).flat_map(|dir| NAMES.map(|name| dir.join(name))).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "no Chromium is installed, and this test looks at the report in a real browser: apt-get install chromium"
        )
    })
}

impl Browser {
    /// Starts it with an empty profile. Every name resolves to nothing.
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (to, from) = (home.path().join("to"), home.path().join("from"));
        let made = Command::new("mkfifo").args([&to, &from]).status().unwrap();
        assert!(made.success());
        // The browser reads commands from descriptor 3 and writes to 4. Without its own sandbox: root has none, and the page is ours.
        let script = r#"exec "$0" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe \
            --disable-background-networking --disable-component-update --disable-sync --no-first-run --hide-scrollbars \
            --host-resolver-rules="MAP * ~NOTFOUND" --user-data-dir="$1/profile" about:blank 3<"$1/to" 4>"$1/from""#;
        let process = Command::new("sh")
            .args(["-c", script])
            .arg(program())
            .arg(home.path())
            .env("HOME", home.path())
            .env("XDG_RUNTIME_DIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let commands = OpenOptions::new().write(true).open(&to).unwrap();
        let from = File::open(&from).unwrap();
        let (send, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(from).split(0) {
                let Ok(message) = message else { return };
                let Ok(value) = serde_json::from_slice(&message) else { return };
                if send.send(value).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { process, commands, answers, session: None, last: 0, events: Vec::new(), _home: home };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.ask("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Network", "Log", "Runtime", "Audits"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Asks, and gives the result; what comes between is kept.
    #[track_caller]
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let value = self.next(&format!("an answer to {method}"));
            if value["id"] == self.last {
                assert!(value["error"].is_null(), "{method}: {value}");
                return value["result"].clone();
            }
            self.events.push(value);
        }
    }

    #[track_caller]
    fn next(&self, what: &str) -> Value {
        self.answers.recv_timeout(ANSWER_MAX).unwrap_or_else(|why| panic!("the browser gave no {what}: {why}"))
    }

    /// A screen of this size, in light or dark.
    pub fn screen(&mut self, width: u32, height: u32, dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.ask("Emulation.setEmulatedMedia", json!({ "media": "", "features": [scheme] }));
    }

    /// Paper of this width, on which nothing can be scrolled.
    pub fn paper(&mut self, width: u32) {
        self.screen(width, 1000, false);
        self.ask("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    }

    /// Opens the file and waits until it is loaded.
    #[track_caller]
    pub fn open(&mut self, file: &Path) {
        self.events.clear();
        self.ask("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        let end = Instant::now() + ANSWER_MAX;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            assert!(Instant::now() < end, "the page was never loaded");
            let event = self.next("sign that the page is loaded");
            self.events.push(event);
        }
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", asked);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Keeps what the screen shows, from top to bottom.
    pub fn picture(&mut self, file: &Path) {
        let picture = self.ask("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        keep(file, &picture);
    }

    /// Keeps the page as it is printed.
    pub fn print(&mut self, file: &Path) {
        let paper = self.ask("Page.printToPDF", json!({ "preferCSSPageSize": true, "printBackground": true }));
        keep(file, &paper);
    }

    /// The URLs that were asked for, the page itself aside.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let url = |event: &Value| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned();
        sent.map(url).filter(|url| !(url.starts_with("file://") && url.ends_with(".html"))).collect()
    }

    /// What a developer would see in the console.
    pub fn complaints(&self) -> Vec<String> {
        const KINDS: [&str; 4] =
            ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Audits.issueAdded"];
        let all = self.events.iter().filter(|event| KINDS.iter().any(|kind| event["method"] == *kind));
        all.map(Value::to_string).collect()
    }
}

fn keep(file: &Path, answer: &Value) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, decoded(answer["data"].as_str().unwrap())).unwrap();
}

/// Base64, which the protocol has for bytes.
fn decoded(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut held) = (Vec::with_capacity(text.len() * 3 / 4), 0u32, 0);
    for value in text.bytes().filter_map(|b| LETTERS.iter().position(|letter| *letter == b)) {
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    out
}

impl Drop for Browser {
    fn drop(&mut self) {
        // By itself, so that its own processes go with it; by force where it does not.
        let _ = self.commands.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
