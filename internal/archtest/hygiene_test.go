package archtest

import (
	"bytes"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// A forbidden text has no place in the tree.
type forbidden struct {
	pattern *regexp.Regexp
	why     string
}

// everywhere lists what no text file may hold. The patterns are put together
// from pieces, so that this file does not hold them itself.
func everywhere() []forbidden {
	word := func(pieces ...string) *regexp.Regexp {
		return regexp.MustCompile(`(?i)\b` + regexp.QuoteMeta(strings.Join(pieces, "")) + `\b`)
	}
	const (
		folder   = "a folder of one machine: name places from the module's root"
		registry = "a package registry: say what to install, not from where"
		how      = "a word on how the text came about"
	)
	return []forbidden{
		{regexp.MustCompile(`(^|[^\w./-])/(wo` + `rk|ro` + `ot)/`), folder},
		{regexp.MustCompile(`(^|[^\w./-])/(ho` + `me|Us` + `ers)/\w+/`), folder},
		{regexp.MustCompile(`(?i)\b[a-z]:\\Us` + `ers\\`), folder},
		{word("proxy.go", "lang.org"), registry},
		{word("sum.go", "lang.org"), registry},
		{word("goproxy", ".io"), registry},
		{word("goproxy", ".cn"), registry},
		{word("pypi", ".org"), registry},
		{word("files.python", "hosted.org"), registry},
		{word("registry.npm", "js.org"), registry},
		{word("deb.deb", "ian.org"), registry},
		{word("cla", "ude"), how},
		{word("anth", "ropic"), how},
		{word("chat", "gpt"), how},
		{word("co", "pilot"), how},
		{word("sub", "agent"), how},
		{word("co-authored", "-by"), how},
	}
}

// here lists what must not appear because of the machine that runs the test:
// the folder of the checkout, the user's home, and the hosts of the module
// proxies in use. Short folders, such as /src, also mean other things and
// are left out, as are proxies on the machine itself.
func here(checkout, home, proxies string) (list []forbidden) {
	add := func(text, why string) {
		list = append(list, forbidden{regexp.MustCompile(regexp.QuoteMeta(text) + `\b`), why})
	}
	for dir, why := range map[string]string{checkout: "the folder of this checkout", home: "this user's home"} {
		if len(dir) >= len("/src/main") {
			add(dir, why)
		}
	}
	for _, address := range strings.FieldsFunc(proxies, func(r rune) bool { return strings.ContainsRune(",|\n", r) }) {
		u, err := url.Parse(address)
		if err != nil || !strings.Contains(u.Hostname(), ".") {
			continue
		}
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsLoopback() {
			continue
		}
		add(u.Hostname(), "this machine's module proxy")
	}
	return list
}

// note to self, in a comment.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

// checkText says what text files hold that they should not.
func checkText(list []forbidden) func(*module) complaints {
	return func(m *module) (c complaints) {
		for _, name := range m.files {
			data, err := fs.ReadFile(m.fsys, name)
			if err != nil {
				c.add("%v", err)
				continue
			}
			if bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
				continue // not text
			}
			n, crlf := 0, false
			for line := range strings.Lines(string(data)) {
				n++
				for _, f := range list {
					if found := f.pattern.FindString(line); found != "" {
						c.add("%s:%d: %q: %s", name, n, strings.TrimSpace(found), f.why)
					}
				}
				// What testdata holds may come off a wire, as it is.
				if strings.HasSuffix(line, "\r\n") && !crlf && !slices.Contains(strings.Split(name, "/"), "testdata") {
					crlf = true
					c.add("%s:%d: a line ends in CR LF: save the file with LF alone", name, n)
				}
			}
		}
		for _, p := range m.pkgs {
			for _, s := range slices.Concat(p.files, p.tests) {
				for _, g := range s.ast.Comments {
					for _, comment := range g.List {
						if word := unfinished.FindString(comment.Text); word != "" {
							c.add("%s: a note %s: do it, or open an issue", s.at(comment.Pos()), word)
						}
					}
				}
			}
		}
		return c
	}
}

func TestText(t *testing.T) {
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	proxies, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		t.Fatalf("go env GOPROXY: %v", err)
	}
	home, _ := os.UserHomeDir() // "" where there is none
	inspect(t, checkText(append(everywhere(), here(checkout, home, string(proxies))...)))
}

func TestTextPlanted(t *testing.T) {
	t.Parallel()
	ground := map[string]string{
		"README.md":                      "See https://example.org/wo" + "rk/ and ../wo" + "rk/, /var/lib and pkg.go.dev.\n",
		"framing/a.go":                   "package framing\n\n// Todo lists and \"TO\" + \"DO\" are fine.\nconst s = \"XX" + "X\"\n",
		"framing/testdata/wire.txt":      "GET / HTTP/1.1\r\n\r\n",
		"framing/testdata/fuzz/F/1":      "go test fuzz v1\n",
		"framing/testdata/wire.bin":      "\x00/wo" + "rk/\r\n",
		"framing/testdata/latin1.golden": "caf\xe9 /wo" + "rk/\r\n",
	}
	file := func(name, text string) map[string]string { return map[string]string{name: text} }
	plantAll(t, checkText(everywhere()), ground, []plant{
		{"good", nil, ""},
		{"folder of a machine", file("a.md", "x\ncd /wo"+"rk/main\n"), "a.md:2: \"/wo" + "rk/\": a folder of one machine"},
		{"another", file("a.md", "in `/ro"+"ot/x`\n"), "a folder of one machine"},
		{"a home", file(".ci/run", "cd /ho"+"me/ana/zocalo\n"), "a folder of one machine"},
		{"a home on macOS", file("a.md", "/Us"+"ers/ana/zocalo\n"), "a folder of one machine"},
		{"a home on Windows", file("a.md", "C:\\Us"+"ers\\ana\n"), "a folder of one machine"},
		{"in testdata too", file("framing/testdata/a.txt", "/wo"+"rk/\n"), "a folder of one machine"},
		{"a module proxy", file("a.md", "GOPROXY=https://proxy.go"+"lang.org\n"), "a package registry"},
		{"how it was made", file("a.md", "Written by Cla"+"ude.\n"), "how the text came about"},
		{"line ends", file("a.md", "a\nb\r\nc\r\n"), "a.md:2: a line ends in CR LF"},
		{"unfinished", file("mq/a.go", "package mq\n\nvar x = 1 // TO"+"DO: more\n"), "mq/a.go:3: a note TO" + "DO"},
		{"unfinished test", file("mq/a_test.go", "package mq\n\n/* FIX"+"ME */\n"), "mq/a_test.go:3: a note FIX" + "ME"},
	})
}

func TestHerePlanted(t *testing.T) {
	t.Parallel()
	const host = "modules.example.org"
	list := here("/build/zocalo", "/src", "http://127.0.0.1:3000|https://"+host+"/go,direct\n")
	file := func(text string) map[string]string { return map[string]string{"a.md": text} }
	plantAll(t, checkText(list), nil, []plant{
		{"good", file("In /src, at 127.0.0.1:3000, direct, /build/zocalos.\n"), ""},
		{"checkout", file("cd /build/zocalo/examples\n"), "the folder of this checkout"},
		{"proxy", file("GOPROXY=https://" + host + "\n"), "this machine's module proxy"},
	})
}
