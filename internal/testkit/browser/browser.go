// Package browser gives a test a headless Chromium that trusts one live server
// and nothing else.
//
// It promises that a page is seen as a person's browser sees it: over TLS with
// the server's own certificate, under the page's own policy, in a profile that
// is empty and gone afterwards; and that what goes wrong in it (an exception,
// a line on the console, a breach of the policy, a failed load) fails the test
// that looks. Chromium is Debian's; where it is missing the test fails, as
// scripts/ensure-chromium.sh installs it.
//
//	b := browser.Start(t, server.URL, server.CA…)
//	p := b.Person(t)          // a profile of its own: cookies, storage
//	p.Go("/sign-in")
//
// axe/ holds axe-core (https://github.com/dequelabs/axe-core, MPL-2.0), which
// looks for what keeps people with disabilities out. It is test data: no part
// of the product.
package browser

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed axe/axe.min.js
var axe string

// Browser is a running Chromium.
type Browser struct {
	base *url.URL
	ctx  context.Context
}

// patience bounds one step in a browser; several test binaries may share a
// machine.
const patience = 60 * time.Second

// Start starts Chromium for the server at base, whose certificate is the only
// one that it takes without a known authority. It ends with the test.
func Start(t testing.TB, base string) *Browser {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	path := find()
	if path == "" {
		t.Fatal("browser: there is no Chromium on this machine; scripts/ensure-chromium.sh installs it")
	}
	pin, err := pinOf(u.Host)
	if err != nil {
		t.Fatalf("browser: the server's certificate: %v", err)
	}
	alloc, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-default-apps", true), chromedp.Flag("disable-extensions", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true), chromedp.Flag("mute-audio", true),
		chromedp.Flag("password-store", "basic"), chromedp.Flag("use-mock-keychain", true), chromedp.Flag("force-color-profile", "srgb"),
		chromedp.Flag("ignore-certificate-errors-spki-list", pin), chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(patience))
	quiet := func(string, ...any) {}
	ctx, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(quiet), chromedp.WithLogf(quiet))
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("browser: Chromium does not start: %v", err)
	}
	return &Browser{base: u, ctx: ctx}
}

func find() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			return p
		}
	}
	return ""
}

// pinOf names the server's public key as Chromium wants to have it.
func pinOf(host string) (string, error) {
	// The certificate is what is asked for here; whether it is good is for the
	// tests of the API's client to say.
	c, err := tls.Dial("tcp", host, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	certs := c.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return "", errors.New("none")
	}
	cert, err := x509.ParseCertificate(certs[0].Raw)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}

// Person is a profile with one tab.
type Person struct {
	t    testing.TB
	b    *Browser
	ctx  context.Context
	stop context.CancelFunc

	dialogs chan struct{}

	mu       sync.Mutex
	troubles []string
	status   int64
}

// Person opens a profile of its own: nobody is signed in, nothing is kept.
func (b *Browser) Person(t testing.TB) *Person {
	t.Helper()
	ctx, stop := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	p := &Person{t: t, b: b, ctx: ctx, stop: stop, dialogs: make(chan struct{}, 16)}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		stop()
	})
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as the context of its first step
		t.Fatalf("browser: a tab: %v", err)
	}
	if err := chromedp.Listen(ctx, p.hear); err != nil {
		t.Fatalf("browser: %v", err)
	}
	go p.agree()
	call(p, network.Enable, network.EnableParams{})
	call(p, cdplog.Enable, cdp.Empty{})
	call(p, page.Enable, page.EnableParams{})
	call(p, runtime.Enable, cdp.Empty{})
	p.Screen(1280, 900, false)
	return p
}

func (p *Person) hear(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		p.troubles = append(p.troubles, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			p.troubles = append(p.troubles, fmt.Sprintf("console: %s", e.Type))
		}
	case *cdplog.EventEntryAdded:
		// What a status says is the page's business; a refused style is not.
		if e.Entry.Level == cdplog.EntryLevelError && e.Entry.Source != cdplog.EntrySourceNetwork || e.Entry.Source == cdplog.EntrySourceSecurity {
			p.troubles = append(p.troubles, fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text))
		}
	case *network.EventResponseReceived:
		if e.Type == network.ResourceTypeDocument {
			p.status = e.Response.Status
		} else if e.Response.Status >= http.StatusBadRequest {
			p.troubles = append(p.troubles, fmt.Sprintf("%d for %s", e.Response.Status, e.Response.URL))
		}
	case *page.EventJavascriptDialogOpening:
		p.dialogs <- struct{}{}
	}
}

// agree answers every question that a page asks with yes. The listener must not
// wait for the browser, so it is done here.
func (p *Person) agree() {
	for {
		select {
		case <-p.dialogs:
			_, _ = chromedp.Call(p.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		case <-p.ctx.Done():
			return
		}
	}
}

// call sends one command of the protocol.
func call[In, Out any](p *Person, cmd cdp.Command[In, Out], in In) Out {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	out, err := chromedp.Call(ctx, cmd, in)
	if err != nil {
		p.t.Fatalf("browser: %s: %v", cmd.Method, err)
	}
	return out
}

// Troubles returns what went wrong in the tab since the last call.
func (p *Person) Troubles() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.troubles
	p.troubles = nil
	return out
}

// Do runs steps, and ends the test where one fails.
func (p *Person) Do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("browser: %v", err)
	}
}

// Go opens a path of the server and returns the status of what it shows.
func (p *Person) Go(path string) int {
	p.t.Helper()
	p.Do(chromedp.Navigate(p.b.base.Scheme + "://" + p.b.base.Host + path))
	return p.Status()
}

// Status is that of the page that was loaded last.
func (p *Person) Status() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.status)
}

// Path returns where the tab is.
func (p *Person) Path() string {
	p.t.Helper()
	var at string
	p.Eval(`location.href`, &at)
	u, err := url.Parse(at)
	if err != nil {
		p.t.Fatal(err)
	}
	return u.RequestURI()
}

// Eval runs a script in the page, past its policy, and reads its value.
func (p *Person) Eval(script string, into any) {
	p.t.Helper()
	b, err := p.eval(script)
	if err != nil {
		p.t.Fatalf("browser: a script: %v", err)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(b, into); err != nil {
		p.t.Fatalf("browser: the value of a script: %v", err)
	}
}

func (p *Person) eval(script string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[[]byte](script, chromedp.EvalAwaitPromise, chromedp.EvalAsValue))
}

// Text returns what the page shows.
func (p *Person) Text() string {
	p.t.Helper()
	var s string
	p.Eval(`document.body.innerText`, &s)
	return s
}

// Fill puts a value into the visible field with a label.
func (p *Person) Fill(label, value string) {
	p.t.Helper()
	var ok bool
	p.Eval(fmt.Sprintf(`(() => {
		const label = [...document.querySelectorAll("label")].find(l => l.checkVisibility() && l.innerText.trim().startsWith(%s));
		const f = label && (label.control || document.getElementById(label.htmlFor));
		if (!f) return false;
		if (f.type === "checkbox" || f.type === "radio") { f.checked = %s === "yes"; } else { f.focus(); f.value = %s; }
		f.dispatchEvent(new Event("input", {bubbles: true}));
		f.dispatchEvent(new Event("change", {bubbles: true}));
		return true;
	})()`, quote(label), quote(value), quote(value)), &ok)
	if !ok {
		p.t.Fatalf("browser: no field labelled %q on %s\n%s", label, p.Path(), p.Text())
	}
}

// Press clicks the visible button or link with a text, and waits for the page
// that it leads to, if it leads to one.
func (p *Person) Press(text string) {
	p.t.Helper()
	var ok bool
	p.Eval(fmt.Sprintf(`(() => {
		const b = [...document.querySelectorAll("button, a, summary")].find(b => b.checkVisibility() && b.innerText.trim().replace(/\s+/g, " ") === %s);
		if (!b) return false;
		document.documentElement.dataset.left = "";
		setTimeout(() => b.click(), 0);
		return true;
	})()`, quote(text)), &ok)
	if !ok {
		p.t.Fatalf("browser: nothing to press named %q on %s\n%s", text, p.Path(), p.Text())
	}
	p.settle()
}

// settle waits until a press has led somewhere, or for a moment where it does
// not.
func (p *Person) settle() {
	p.t.Helper()
	end := time.Now().Add(patience)
	still := 0
	for time.Now().Before(end) {
		state, err := p.eval(`document.readyState + ("left" in document.documentElement.dataset ? " same" : " new")`)
		switch {
		case err != nil: // between two pages there is none to ask
		case string(state) == `"complete new"`:
			return
		case string(state) == `"complete same"`:
			if still++; still > 20 {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Fatal("browser: the page does not come to rest")
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(b)
}

// SignIn signs somebody in by the form.
func (p *Person) SignIn(email, password string) {
	p.t.Helper()
	p.Go("/sign-in")
	p.Fill("Email address", email)
	p.Fill("Password", password)
	p.Press("Sign in")
	if strings.HasPrefix(p.Path(), "/sign-in") {
		p.t.Fatalf("browser: the sign-in failed:\n%s", p.Text())
	}
}

// Screen sets the size of the window in CSS pixels, and the system's colours.
func (p *Person) Screen(width, height int64, dark bool) {
	p.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// Shot returns a picture (PNG) of the window, or of the whole page.
func (p *Person) Shot(whole bool) []byte {
	p.t.Helper()
	return call(p, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &whole}).Data
}

// Axe returns what axe-core finds wrong with the page, one line a finding.
func (p *Person) Axe() []string {
	p.t.Helper()
	var there bool
	p.Eval(`"axe" in window`, &there)
	if !there {
		p.Eval(axe+"; true", nil)
	}
	var found []struct {
		ID    string `json:"id"`
		Help  string `json:"help"`
		Nodes []struct {
			HTML    string   `json:"html"`
			Target  []string `json:"target"`
			Summary string   `json:"failureSummary"`
		} `json:"nodes"`
	}
	p.Eval(`axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r => r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => ({html: n.html, target: n.target.map(String), failureSummary: n.failureSummary}))})))`, &found)
	var out []string
	for _, f := range found {
		for _, n := range f.Nodes {
			out = append(out, fmt.Sprintf("%s: %s: %s: %s", f.ID, f.Help, strings.Join(n.Target, " "), strings.ReplaceAll(n.Summary, "\n", " ")))
		}
	}
	return out
}

// Wider returns the elements that stick out of the window to the side.
func (p *Person) Wider() []string {
	p.t.Helper()
	var out []string
	p.Eval(`(() => {
		const w = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= w) return [];
		return [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && e.getBoundingClientRect().right > w + 1)
			.slice(0, 5).map(e => e.tagName + "." + e.className + " " + Math.round(e.getBoundingClientRect().right) + " > " + w);
	})()`, &out)
	return out
}

// Key presses a key that writes nothing.
func (p *Person) Key(name string, code int64) {
	p.t.Helper()
	for _, way := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
		call(p, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: way, Key: name, Code: name, WindowsVirtualKeyCode: code})
	}
}

const mark = `(() => {
	window.__n = 0;
	const can = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]:not([tabindex='-1'])";
	return [...document.querySelectorAll(can)].filter(e => !e.disabled && e.tabIndex >= 0 && e.checkVisibility({visibilityProperty: true})
		&& !(e.type === "radio" && !e.checked && document.querySelector("input[type=radio][name='" + e.name + "']:checked")))
		.map(e => { e.dataset.walk = String(window.__n++); return (e.innerText || e.getAttribute("aria-label") || e.name || e.tagName).trim().slice(0, 40); });
})()`

// Unreached presses Tab through the page and returns what can be pressed or
// filled, and is not come by.
func (p *Person) Unreached() []string {
	p.t.Helper()
	var names []string
	p.Eval(mark, &names)
	p.Eval(`(document.activeElement && document.activeElement.blur(), window.getSelection().removeAllRanges(), true)`, nil)
	reached := map[int]bool{}
	for range len(names) + 8 {
		p.Key("Tab", 9)
		at := -1
		p.Eval(`document.activeElement && document.activeElement.dataset.walk ? Number(document.activeElement.dataset.walk) : -1`, &at)
		if at >= 0 {
			reached[at] = true
		}
		if len(reached) == len(names) {
			return nil
		}
	}
	var out []string
	for i, n := range names {
		if !reached[i] {
			out = append(out, n)
		}
	}
	return out
}
