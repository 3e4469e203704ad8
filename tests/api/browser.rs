//! The pages in a real browser: Chromium without a window, as wide as a phone, driven over WebDriver.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::support::{Evm, House, Partner, Service, b64, unb64};

/// A phone's width, in CSS pixels.
const WIDTH: u32 = 360;

/// What holds for every page: looked at from inside the browser.
const LOOK: &str = r"
    const buttons = [...document.querySelectorAll('button, a.button')];
    return {
        language: document.documentElement.lang,
        headings: document.querySelectorAll('h1').length,
        mains: document.querySelectorAll('main').length,
        sideways: document.documentElement.scrollWidth > window.innerWidth,
        styled: document.styleSheets.length === 1 && document.styleSheets[0].cssRules.length > 5,
        scripts: document.scripts.length,
        fetched: performance.getEntriesByType('resource').filter(entry => !entry.name.endsWith('/favicon.ico')).length,
        small: buttons.filter(button => button.getBoundingClientRect().height < 44).map(button => button.textContent),
        unreachable: buttons.filter(button => { button.focus(); return document.activeElement !== button; }).length,
        width: window.innerWidth,
    };";

/// chromedriver with all that it starts.
struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    /// `None` where there is none, which is said aloud and is an error in CI.
    fn start() -> Option<Self> {
        let installed = |programme: &str| Command::new(programme).arg("--version").output().is_ok();
        if !installed("chromium") || !installed("chromedriver") {
            let text = "no chromium and chromedriver in PATH (Debian: apt install chromium chromium-driver)";
            assert!(std::env::var_os("CI").is_none(), "CI must run the browser tests: {text}");
            eprintln!("\n*** SKIPPED: everything in a browser: {text} ***\n");
            return None;
        }
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut ports = lines.map_while(Result::ok).filter_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        let port = ports.next().expect("chromedriver says its port");
        Some(Self { process, port })
    }

    async fn phone(&self, profile: &std::path::Path) -> Client {
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                format!("--user-data-dir={}", profile.display()),
            ],
            "mobileEmulation": {"deviceMetrics": {"width": WIDTH, "height": 740, "pixelRatio": 2.0, "touch": true}},
        });
        let Value::Object(capabilities) = json!({"goog:chromeOptions": options}) else { unreachable!() };
        let url = format!("http://127.0.0.1:{}", self.port);
        ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&url).await.unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}

/// A person's phone beside the service.
struct Story {
    service: Service,
    partner: Partner,
    browser: Client,
}

impl Story {
    async fn open(&self, path: &str, heading: &str) {
        self.browser.goto(&format!("http://{}{path}", self.service.http)).await.unwrap();
        self.sees(heading).await;
    }

    /// Waits for the page with that heading and looks at what holds for every page.
    async fn sees(&self, heading: &str) {
        let wanted = format!("//h1[normalize-space() = '{heading}']");
        let found = self.browser.wait().for_element(Locator::XPath(&wanted)).await;
        assert!(found.is_ok(), "no {heading:?} at {}", self.browser.current_url().await.unwrap());
        let seen = self.browser.execute(LOOK, Vec::new()).await.unwrap();
        let wanted = json!({
            "language": "en", "headings": 1, "mains": 1, "sideways": false, "styled": true, "scripts": 0, "fetched": 0,
            "small": [], "unreachable": 0, "width": WIDTH,
        });
        assert_eq!(seen, wanted, "{heading}");
    }

    async fn press(&self, label: &str, heading: &str) {
        let button = format!("//*[self::button or self::a][normalize-space() = '{label}']");
        self.browser.find(Locator::XPath(&button)).await.unwrap().click().await.unwrap();
        self.sees(heading).await;
    }

    async fn text(&self) -> String {
        self.browser.find(Locator::Css("body")).await.unwrap().text().await.unwrap()
    }

    async fn customer(&self, number: u8) -> Value {
        let body = json!({"chainId": Evm::new(number).account(), "externalId": format!("u-{number}")});
        self.partner.post("/v1/customers", &body).await.is(201).json()
    }

    async fn sign(&self, number: u8, customer: &Value) {
        let signature = b64(Evm::new(number).sign_hex(&unb64(&customer["challenge"])));
        let signed = json!({"challenge": customer["challenge"], "signature": signature});
        let target = format!("/v1/customers/{}/challenge/sign", customer["id"].as_str().unwrap());
        self.partner.post(&target, &signed).await.is(204);
        for _ in 0..2000 {
            if self.status(customer).await == "verifying" {
                return;
            }
        }
        panic!("never verifying");
    }

    async fn status(&self, customer: &Value) -> String {
        let target = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
        self.partner.get(&target).await.is(200).json()["status"].as_str().unwrap().to_owned()
    }
}

fn link(customer: &Value) -> String {
    customer["verificationUrl"].as_str().unwrap().replace("https://customers.test", "")
}

async fn approve(story: &Story) {
    let customer = story.customer(1).await;
    story.open(&link(&customer), "One step comes first").await;
    story.sign(1, &customer).await;
    story.open(&link(&customer), "Sandbox identity check").await;
    story.press("Ask for more information", "More information requested").await;
    story.press("See what the customer sees", "We need a little more from you").await;
    assert!(story.text().await.contains("not clear enough"));
    story.press("Continue verification", "Sandbox identity check").await;
    story.press("Approve", "Approved").await;
    assert_eq!(story.status(&customer).await, "active");
    story.press("See what the customer sees", "You are verified").await;
}

async fn decline(story: &Story) {
    let customer = story.customer(2).await;
    story.sign(2, &customer).await;
    story.open(&link(&customer), "Sandbox identity check").await;
    story.press("Decline for good", "Declined").await;
    assert_eq!(story.status(&customer).await, "rejected");
    story.press("See what the customer sees", "Your verification was not approved").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_decides_in_the_portal_on_a_phone() {
    let Some(driver) = Driver::start() else { return };
    let profile = tempfile::tempdir().unwrap();
    let service = House::Sqlite(false).await.unwrap().start().await;
    let partner = service.sandbox_partner("Wallet").await;
    let story = Story { browser: driver.phone(profile.path()).await, service, partner };
    approve(&story).await;
    decline(&story).await;
    story.open("/verify/unknown", "This link does not work").await;
    story.open("/", "API reference").await;
    story.browser.close().await.unwrap();
}
