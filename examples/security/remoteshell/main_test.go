package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/framing"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

const password = "open sesame"

// A site is a server with what it needs.
type site struct {
	*clitest.Process
	users, keys, dir, log string
}

// prepare makes a file of users; ana is one.
func prepare(t *testing.T) *site {
	t.Helper()
	top, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	s := &site{users: filepath.Join(top, "users"), keys: filepath.Join(top, "keys"), dir: filepath.Join(top, "work"), log: filepath.Join(top, "log")}
	require.NoError(t, os.Mkdir(s.dir, 0o755))
	// A cheap recipe: what is tested is not how slow it is.
	got := clitest.Run(t, password+"\n", "adduser", "-users", s.users, "-name", "ana", "-memory", "8", "-passes", "1")
	require.Equal(t, 0, got.Status, got.Stderr)
	return s
}

func (s *site) args(flags ...string) []string {
	return append([]string{"server", "-port", "0", "-users", s.users, "-keys", s.keys, "-dir", s.dir, "-log", s.log}, flags...)
}

// newSite starts a server. The commands that the tests run are those of Unix.
func newSite(t *testing.T, flags ...string) *site {
	t.Helper()
	for _, name := range []string{"ls", "cat", "pwd"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no program %s on this system", name)
		}
	}
	s := prepare(t)
	s.Process = clitest.Start(t, s.args(flags...)...)
	return s
}

// client runs a client whose input is the password and then lines.
func (s *site) client(t *testing.T, user, password, lines string, flags ...string) clitest.Result {
	t.Helper()
	return clitest.Run(t, password+"\n"+lines, append([]string{"client", "-port", s.Port(), "-ca", filepath.Join(s.keys, rootFile), "-user", user}, flags...)...)
}

func TestConventions(t *testing.T) {
	s := newSite(t)
	clitest.Conventions(t, []string{"server", "-users", s.users, "-keys", s.keys, "-dir", s.dir})
}

func TestSession(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "two words"), []byte("¡hola!\n"), 0o644))
	got := s.client(t, "ana", password, "pwd\nls\nmkdir -p a/b\nmv 'two words' a/b/letter\ncd a/b\npwd\ncat letter\ncd\npwd\n\nexit\nls\n")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, s.dir+"\ntwo words\n"+s.dir+"/a/b\n¡hola!\n"+s.dir+"\n", got.Stdout)
	require.Empty(t, got.Stderr)

	// The status and the errors of the program over there are those here.
	got = s.client(t, "ana", password, "", "-text", "cat nothing")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "cat: nothing: No such file")
	got = s.client(t, "ana", password, "cat nothing\npwd\n")
	require.Equal(t, 0, got.Status)
	require.Contains(t, got.Stderr, "status 1")
	require.Equal(t, s.dir+"\n", got.Stdout)
}

// What a shell would make something of is a word like any other.
func TestNoShell(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "letter"), nil, 0o644))
	for line, want := range map[string]string{
		`echo $HOME *`:             "$HOME *\n",
		`echo one; rm letter`:      "one; rm letter\n",
		"echo `rm letter`":         "`rm letter`\n",
		`echo $(rm letter)`:        "$(rm letter)\n",
		`echo one | cat > two`:     "one | cat > two\n",
		`echo one && rm letter`:    "one && rm letter\n",
		`echo "a  b" 'c''"d' e\ f`: `a  b c"d e f` + "\n",
	} {
		got := s.client(t, "ana", password, "", "-text", line)
		require.Equal(t, 0, got.Status, got.Stderr)
		require.Equal(t, want, got.Stdout)
	}
	entries, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestRefusedCommands(t *testing.T) {
	s := newSite(t)
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret\n"), 0o644))
	require.NoError(t, os.Symlink(outside, filepath.Join(s.dir, "link")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(s.dir, "file")))
	for _, line := range []string{
		"rm letter", "sh -c ls", "/bin/ls", "./ls", "../ls", `""`, "env ls",
		"cat /etc/passwd", "ls ..", "ls a/../..", "cat link/secret", "cat file", "cp letter link/letter", "touch link/new",
		"cd ..", "cd /", "cd link", "cd nothing", "cd a b",
		"cp -t/etc x", "cp --target-directory=/etc x", "ls --hide=.. x", "wc --files0-from=/etc/passwd",
		`echo "open`, `echo 'open`, `echo open\`, strings.Repeat("x ", maxWords+2),
	} {
		got := s.client(t, "ana", password, "", "-text", line)
		require.Equal(t, 1, got.Status, "%s: %s", line, got.Stdout)
		require.Contains(t, got.Stderr, "refused", line)
		require.Empty(t, got.Stdout)
	}
	got := s.client(t, "ana", password, "", "-text", strings.Repeat("x", maxLine+1))
	require.Equal(t, 1, got.Status)

	// With the flags that lift it.
	free := newSite(t, "-anywhere", "-allow", "any")
	got = free.client(t, "ana", password, "cd "+outside+"\npwd\ncat secret\nsh -c 'echo $((1+2))'\n")
	require.Equal(t, 0, got.Status, got.Stderr)
	real, err := filepath.EvalSymlinks(outside)
	require.NoError(t, err)
	require.Contains(t, []string{outside, real}, strings.SplitN(got.Stdout, "\n", 2)[0])
	require.True(t, strings.HasSuffix(got.Stdout, "\nsecret\n3\n"), got.Stdout)
}

// Nothing of the server's environment reaches a command.
func TestEnvironment(t *testing.T) {
	t.Setenv("ZOCALO_SECRET", "swordfish")
	s := newSite(t, "-allow", "env,cat")
	got := s.client(t, "ana", password, "env\ncat\n")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "HOME="+s.dir)
	require.NotContains(t, got.Stdout, "swordfish")
}

// Time and output have limits, and what a command has started ends with it.
func TestLimits(t *testing.T) {
	s := newSite(t, "-allow", "any", "-max-time", "300ms", "-max-output", "100000")
	got := s.client(t, "ana", password, "", "-text", "sleep 1000")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "stopped after 300ms")

	got = s.client(t, "ana", password, "", "-text", "yes")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "it has printed more than 100000 bytes")
	require.Equal(t, strings.Repeat("y\n", 50000), got.Stdout)

	if runtime.GOOS == "windows" {
		t.Skip("Windows has no process groups: what a command has started goes on")
	}
	got = s.client(t, "ana", password, "", "-text", `sh -c "sleep 1000 & echo $!; wait"`)
	require.Contains(t, got.Stderr, "stopped after 300ms")
	pid, err := strconv.Atoi(strings.TrimSpace(got.Stdout))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
		return err != nil || strings.HasPrefix(strings.TrimSpace(string(out)), "Z") // gone, or dead and not yet buried
	}, clitest.Limit, 10*time.Millisecond)

	// And the session goes on after each of them.
	got = s.client(t, "ana", password, "sleep 1000\nyes\npwd\n")
	require.Equal(t, 0, got.Status)
	require.True(t, strings.HasSuffix(got.Stdout, s.dir+"\n"))
}

// A wrong password and a user who does not exist: the same words, byte by byte.
func TestWrongLogin(t *testing.T) {
	s := newSite(t, "-tries", "3", "-window", "1h")
	var said []string
	for _, test := range [][2]string{{"ana", "open sesam"}, {"nobody", password}, {"Not a name!", ""}} {
		got := s.client(t, test[0], test[1], "ls\n")
		require.Equal(t, 1, got.Status)
		require.Empty(t, got.Stdout)
		said = append(said, got.Stderr)
	}
	require.Equal(t, "remoteshell: "+s.Addr+" refuses: \"wrong name or password\"\n", said[0])
	require.Equal(t, []string{said[0], said[0], said[0]}, said)
	// The fourth attempt is refused, whoever it is and be it right.
	for _, user := range []string{"ana", "nobody"} {
		got := s.client(t, user, password, "ls\n")
		require.Equal(t, 1, got.Status)
		require.Regexp(t, `refuses: "too many attempts, wait (1h0m0s|59m\d+s)"`, got.Stderr)
	}
	require.Zero(t, s.Stop())
	log, err := os.ReadFile(s.log)
	require.NoError(t, err)
	require.Equal(t, 5, strings.Count(string(log), `"login refused"`))
	require.NotContains(t, string(log)+s.Stdout.String(), "sesam")
	require.NotContains(t, string(log)+s.Stdout.String(), "Not a name!", "it may be a password typed too early")
}

// Logins that succeed do not use up the attempts.
func TestRightLoginsAreFree(t *testing.T) {
	s := newSite(t, "-tries", "1", "-window", "1h")
	for range 6 {
		got := s.client(t, "ana", password, "", "-text", "pwd")
		require.Equal(t, 0, got.Status, got.Stderr)
	}
}

// The same work is done for a user who does not exist: the same function, with
// the same costs.
func TestSameWork(t *testing.T) {
	r := recipe{8 << 10, 1, 1}
	u, err := parseUsers([]byte("ana:" + newSecret([]byte(password), r).String() + "\n"))
	require.NoError(t, err)
	type call struct {
		salt, size   int
		passes, kib  uint32
		lanes        uint8
		passwordSize int
	}
	var calls []call
	slow := u.derive
	u.derive = func(password, salt []byte, passes, kib uint32, lanes uint8, size uint32) []byte {
		calls = append(calls, call{len(salt), int(size), passes, kib, lanes, len(password)})
		return slow(password, salt, passes, kib, lanes, size)
	}
	require.True(t, u.check("ana", []byte(password)))
	require.False(t, u.check("ana", []byte("open sesamE")))
	require.False(t, u.check("nobody", []byte(password)))
	require.False(t, u.check("", []byte(password)))
	require.Len(t, calls, 4)
	for _, c := range calls {
		require.Equal(t, calls[0], c)
	}
	// Even one who knew what the decoy stands for would not get in.
	u.decoy.hash = slow([]byte(password), u.decoy.salt, 1, 8<<10, 1, hashSize)
	require.False(t, u.check("nobody", []byte(password)))
}

func TestUsersFile(t *testing.T) {
	r := recipe{8 << 10, 1, 1}
	ana, luis := newSecret([]byte(password), r), newSecret([]byte(password), r)
	require.NotEqual(t, ana.String(), luis.String(), "equal passwords look different")
	again, err := parseSecret(ana.String())
	require.NoError(t, err)
	require.Equal(t, ana, again)
	good := "# people\n\nana:" + ana.String() + "\r\nluis:" + luis.String()
	u, err := parseUsers([]byte(good))
	require.NoError(t, err)
	require.True(t, u.check("luis", []byte(password)))

	slower := newSecret([]byte("x"), recipe{8 << 10, 2, 1})
	for name, text := range map[string]string{
		"empty":           "",
		"only a remark":   "# ana\n",
		"no hash":         "ana:\n",
		"plain password":  "ana:" + password + "\n",
		"twice":           good + "\nana:" + ana.String(),
		"a name":          "Ana:" + ana.String(),
		"another recipe":  good + "\nrosa:" + slower.String(),
		"much memory":     "ana:$argon2id$v=19$m=999999999,t=1,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 43),
		"many passes":     "ana:$argon2id$v=19$m=8192,t=999999,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 43),
		"no passes":       "ana:$argon2id$v=19$m=8192,t=0,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 43),
		"short salt":      "ana:$argon2id$v=19$m=8192,t=1,p=1$c29t$" + strings.Repeat("A", 43),
		"another version": "ana:" + strings.Replace(ana.String(), "v=19", "v=16", 1),
		"another hash":    "ana:" + strings.Replace(ana.String(), "argon2id", "argon2d", 1),
		"a long line":     "ana:" + strings.Repeat("x", 100_000),
	} {
		_, err := parseUsers([]byte(text))
		require.ErrorIs(t, err, errUsers, name)
	}
	var many strings.Builder
	for i := range maxUsers + 1 {
		fmt.Fprintf(&many, "user%d:%s\n", i, ana)
	}
	_, err = parseUsers([]byte(many.String()))
	require.ErrorIs(t, err, errUsers)
}

func TestAddUser(t *testing.T) {
	s := prepare(t)
	add := func(name, password string, flags ...string) clitest.Result {
		return clitest.Run(t, password, append([]string{"adduser", "-users", s.users, "-name", name, "-memory", "8", "-passes", "1"}, flags...)...)
	}
	require.Equal(t, 0, add("luis", "¡ábrete, sésamo!\n").Status)
	require.Equal(t, 1, add("ana", "another password\n").Status, "no user twice")
	require.Equal(t, 1, add("rosa", "open sesame\n", "-passes", "2").Status, "another recipe")
	for _, bad := range []string{"", "short\n", "1234567\n", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\n"} {
		require.Equal(t, 2, add("rosa", bad).Status, "%q", bad)
	}
	require.Equal(t, 1, add("rosa", strings.Repeat("x", maxPassword+1)).Status)
	require.Equal(t, 2, add("Rosa", "open sesame\n").Status)
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("open sesame\r\nmore\n"), 0o600))
	require.Equal(t, 0, add("rosa", "", "-password-file", file).Status)
	data, err := os.ReadFile(s.users)
	require.NoError(t, err)
	u, err := parseUsers(data)
	require.NoError(t, err)
	require.True(t, u.check("ana", []byte(password)))
	require.True(t, u.check("luis", []byte("¡ábrete, sésamo!")))
	require.True(t, u.check("rosa", []byte("open sesame")))
	require.NotContains(t, string(data), "sesam")
	if runtime.GOOS != "windows" {
		info, err := os.Stat(s.users)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter{tries: 3, window: time.Minute}
		try := func(key string, failed bool) time.Duration {
			wait, err := l.begin(t.Context(), key)
			require.NoError(t, err)
			if wait == 0 {
				l.end(key, failed)
			}
			return wait
		}
		for range 3 {
			require.Zero(t, try("a", true))
			require.Zero(t, try("right", false))
		}
		require.Zero(t, try("right", false))
		require.Equal(t, time.Minute, try("a", true))
		time.Sleep(59 * time.Second)
		require.Equal(t, time.Second, try("a", false))
		require.Zero(t, try("b", true), "each key for itself")
		time.Sleep(time.Second)
		require.Zero(t, try("a", true), "a new window")

		// The table has a limit: what is oldest goes, but nothing that is pending.
		_, err := l.begin(t.Context(), "pending")
		require.NoError(t, err)
		for i := range maxKeys + 100 {
			time.Sleep(time.Millisecond)
			require.Zero(t, try(strconv.Itoa(i), true))
			require.LessOrEqual(t, len(l.keys), maxKeys)
		}
		require.NotContains(t, l.keys, "a")
		require.Contains(t, l.keys, "pending")
		require.Contains(t, l.keys, strconv.Itoa(maxKeys+99))
		l.end("pending", true)

		// Many at once: as many fail as may, and not one more.
		passed, refused := 0, 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				wait, err := l.begin(t.Context(), "many")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					t.Error(err)
				case wait > 0:
					refused++
				default:
					passed++
					go func() {
						time.Sleep(time.Second) // judging takes its time
						l.end("many", true)
					}()
				}
			})
		}
		wg.Wait()
		require.Equal(t, 3, passed)
		require.Equal(t, 97, refused)

		// Many who are right: none is turned away, three at a time are judged.
		start := time.Now()
		for range 30 {
			wg.Go(func() {
				wait, err := l.begin(t.Context(), "right ones")
				if err != nil || wait > 0 {
					t.Errorf("%v, %v", wait, err)
					return
				}
				time.Sleep(time.Second)
				l.end("right ones", false)
			})
		}
		wg.Wait()
		require.Equal(t, 10*time.Second, time.Since(start))

		// And nobody waits for ever.
		for range 3 {
			_, err := l.begin(t.Context(), "stuck")
			require.NoError(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = l.begin(ctx, "stuck")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		require.Equal(t, want, origin(netip.MustParseAddr(addr)))
	}
	require.Equal(t, "invalid IP", origin(netip.Addr{}))
}

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                   nil,
		"  \t ":              nil,
		"ls":                 {"ls"},
		" ls  -l\ta ":        {"ls", "-l", "a"},
		`a "" ''`:            {"a", "", ""},
		`"a b"c'd e'`:        {"a bc" + "d e"},
		`a\ b \"c\'`:         {"a b", `"c'`},
		`"a\"b\\c\d" '\"'`:   {`a"b\c\d`, `\"`},
		`¡hola! 'ñ  ú'`:      {"¡hola!", "ñ  ú"},
		"a;b|c>d&e$f*g`h~ #": {"a;b|c>d&e$f*g`h~", "#"},
	} {
		got, err := split(line)
		require.NoError(t, err, line)
		require.Equal(t, want, got, line)
	}
	for _, bad := range []string{`"`, `'`, `\`, `"\`, `a "b`, "a\x00"} {
		_, err := split(bad)
		require.ErrorIs(t, err, errRefused, "%q", bad)
	}
}

// FuzzSplit: quoting every word brings the same words back.
func FuzzSplit(f *testing.F) {
	f.Add(`ls -l "a b" 'c d' e\ f`)
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := split(line)
		if err != nil {
			require.ErrorIs(t, err, errRefused)
			return
		}
		var quoted []string
		for _, word := range words {
			quoted = append(quoted, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
		}
		again, err := split(strings.Join(quoted, " "))
		require.NoError(t, err)
		require.Equal(t, words, again)
	})
}

func FuzzParseUsers(f *testing.F) {
	f.Add([]byte("ana:$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 43) + "\n"))
	f.Add([]byte("# x\nana:$argon2id$v=19$m=999999999,t=0,p=999$$\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := parseUsers(data)
		if err != nil {
			require.ErrorIs(t, err, errUsers)
			return
		}
		for name, s := range u.secrets {
			require.Regexp(t, goodUser, name)
			require.LessOrEqual(t, s.kib, uint32(maxKiB))
			again, err := parseSecret(s.String())
			require.NoError(t, err)
			require.Equal(t, s, again)
			require.Equal(t, u.decoy.recipe, s.recipe)
		}
	})
}

func FuzzParseLogin(f *testing.F) {
	f.Add([]byte(`{"user":"ana","password":"open sesame"}`))
	f.Add([]byte(`{"user":1}`))
	f.Add([]byte(`{"user":"ana"}{"user":"eva"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLogin(data)
		if err != nil {
			require.ErrorIs(t, err, errLogin)
			return
		}
		require.LessOrEqual(t, len(l.User), maxPassword)
		require.LessOrEqual(t, len(l.Password), maxPassword)
	})
}

// The log keeps the whole session in order, in lines of JSON.
func TestLog(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "evil"), []byte("\x1b[2J\nfake \"msg\"\n"), 0o644))
	got := s.client(t, "ana", password, "cat evil\nrm evil\ncat nothing\n")
	require.Equal(t, 0, got.Status)
	require.Equal(t, "[2J\nfake \"msg\"\n", got.Stdout, "without the control character")
	require.Contains(t, s.client(t, "ana", password, "", "-raw", "-text", "cat evil").Stdout, "\x1b[2J")
	require.Zero(t, s.Stop())
	data, err := os.ReadFile(s.log)
	require.NoError(t, err)
	var story []string
	stderr := ""
	for line := range strings.Lines(string(data)) {
		var entry struct {
			Time                    time.Time
			Msg, User, Line, Stream string
			Text                    string
			Status                  int
			Peer                    netip.AddrPort
		}
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		require.Equal(t, "ana", entry.User)
		require.True(t, entry.Peer.Addr().IsLoopback())
		require.WithinDuration(t, time.Now(), entry.Time, time.Minute)
		if n := len(story); n > 0 && entry.Stream == "stderr" && strings.HasPrefix(story[n-1], "output stderr") {
			stderr += entry.Text // a program may print one line in several pieces
			story[n-1] = fmt.Sprintf("output stderr %q 0", stderr)
			continue
		}
		stderr = entry.Text
		story = append(story, strings.TrimSpace(fmt.Sprintf("%s %s%s %q %d", entry.Msg, entry.Line, entry.Stream, entry.Text, entry.Status)))
	}
	require.Equal(t, []string{
		`login  "" 0`,
		`command cat evil "" 0`, `output stdout "\x1b[2J\nfake \"msg\"\n" 0`, `exit  "" 0`,
		`command rm evil "" 0`, `exit  "" 126`,
		`command cat nothing "" 0`, `output stderr "cat: nothing: No such file or directory\n" 0`, `exit  "" 1`,
		`logout  "" 0`,
	}, story[:10])
	require.NotContains(t, string(data), password)
}

// A session that cannot be kept does not take place.
func TestLogFails(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	s := newSite(t, "-log", "/dev/full")
	got := s.client(t, "ana", password, "touch letter\n")
	require.Equal(t, 1, got.Status)
	s.Stdout.WaitFor(t, "the log cannot be written")
	_, err := os.Stat(filepath.Join(s.dir, "letter"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestFrom(t *testing.T) {
	s := newSite(t, "-from", "192.0.2.0/24,2001:db8::/32")
	got := s.client(t, "ana", password, "", "-text", "pwd")
	require.Equal(t, 1, got.Status)
	s.Stdout.WaitFor(t, "not from here: hung up")
	require.NotContains(t, s.Stdout.String(), "login")
	s = newSite(t, "-from", "192.0.2.0/24,127.0.0.0/8")
	got = s.client(t, "ana", password, "", "-text", "pwd")
	require.Equal(t, 0, got.Status, got.Stderr)
}

// Many sessions at a time.
func TestManySessions(t *testing.T) {
	s := newSite(t)
	results := make(chan clitest.Result, 12)
	var wg sync.WaitGroup
	for i := range cap(results) {
		p := clitest.StartClient(t, fmt.Sprintf("%s\nmkdir d%d\ncd d%d\npwd\n", password, i, i), "client", "-port", s.Port(), "-ca", filepath.Join(s.keys, rootFile), "-user", "ana")
		wg.Go(func() {
			status := p.Wait()
			results <- clitest.Result{Status: status, Stdout: p.Stdout.String(), Stderr: p.Stderr.String()}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for range cap(results) {
		got := <-results
		require.Equal(t, 0, got.Status, got.Stderr)
		seen[got.Stdout] = true
	}
	require.Len(t, seen, cap(results))
}

// The keys are made once: a client that trusts them trusts them after a restart.
func TestRestart(t *testing.T) {
	s := newSite(t)
	require.Zero(t, s.Stop())
	before, err := os.ReadFile(filepath.Join(s.keys, rootFile))
	require.NoError(t, err)
	s.Process = clitest.Start(t, s.args()...)
	after, err := os.ReadFile(filepath.Join(s.keys, rootFile))
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, 0, s.client(t, "ana", password, "", "-text", "pwd").Status)
	if runtime.GOOS != "windows" {
		info, err := os.Stat(filepath.Join(s.keys, keyFile))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
	}

	// A client that trusts somebody else, or wants another name, sends nothing.
	other := newSite(t)
	got := clitest.Run(t, password+"\n", "client", "-port", other.Port(), "-ca", filepath.Join(s.keys, rootFile), "-user", "ana", "-text", "pwd")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "unknown-authority")
	got = s.client(t, "ana", password, "", "-name", "other.example", "-text", "pwd")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "wrong-name")
	require.NotContains(t, other.Stdout.String(), "login")
}

// Strangers: no TLS, another protocol, no login, a login that is none. Each
// gets its line, and the server goes on.
func TestHostileClients(t *testing.T) {
	s := newSite(t, "-login-time", "500ms")
	conn, err := net.Dial("tcp", s.Addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
	require.NoError(t, err)
	s.Stdout.WaitFor(t, "not-tls")

	pem, err := os.ReadFile(filepath.Join(s.keys, rootFile))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	_, err = tls.Dial("tcp", s.Addr, &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	require.ErrorContains(t, err, "no application protocol")

	for _, test := range []struct{ send, answer, says string }{
		{"", "", "timed out"}, // silent
		{"\x00\x00\x00\x02{}", "\x00\x00\x00\x17r" + wrongLogin, wrongLogin},
		{"\x00\x00\x00\x04null", "\x00\x00\x00\x17r" + wrongLogin, wrongLogin},
		{"\x00\x00\x00\x02[]", "\x00\x00\x00\x09rno login", "not a login"},
		{"\x00\x00\x00\x0c{\"root\":true}"[:16], "\x00\x00\x00\x09rno login", "not a login"},
		{"\xff\xff\xff\xff", "", "4294967295 bytes"},
		{"\x00\x00\x00\x08half", "", "in the middle of a message"},
	} {
		conn, err := tls.Dial("tcp", s.Addr, &tls.Config{RootCAs: roots, NextProtos: []string{protocol}})
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(clitest.Limit)))
		_, err = io.WriteString(conn, test.send)
		require.NoError(t, err)
		if test.send != "" {
			require.NoError(t, conn.CloseWrite())
		}
		answer, _ := io.ReadAll(conn)
		require.Equal(t, test.answer, string(answer), "%q", test.send)
		conn.Close()
		s.Stdout.WaitFor(t, test.says)
	}
	got := s.client(t, "ana", password, "", "-text", "pwd")
	require.Equal(t, 0, got.Status, got.Stderr)
}

// A client that goes away while its command runs: the command is stopped.
func TestClientLeaves(t *testing.T) {
	s := newSite(t, "-allow", "yes", "-max-output", "1000000000", "-max-time", "1h")
	p := clitest.StartClient(t, password+"\nyes\n", "client", "-port", s.Port(), "-ca", filepath.Join(s.keys, rootFile), "-user", "ana")
	p.Stdout.WaitFor(t, "y\n")
	p.Signal(os.Kill)
	p.Wait()
	s.Stdout.WaitFor(t, ": ended: ")
	require.Equal(t, 0, s.client(t, "ana", password, "exit\n").Status)
}

// A server that answers nonsense, over TLS with a certificate that is trusted.
func TestHostileServer(t *testing.T) {
	s := prepare(t)
	secure, err := identity(s.keys)
	require.NoError(t, err)
	for _, test := range []struct {
		answers []string
		says    string
	}{
		{nil, "no answer to the login"},
		{[]string{""}, "answers a login with"},
		{[]string{"?"}, "answers a login with"},
		{[]string{"r\x1b[2Jno"}, `refuses: "\x1b[2Jno"`},
		{[]string{"w/", ""}, "empty message"},
		{[]string{"w/", "?"}, "kind '?'"},
		{[]string{"w/", "x"}, "not understood"},
		{[]string{"w/", "x{}{}"}, "not understood"},
		{[]string{"w/", "ohola"}, "has ended the session"},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		outer, err := secure.Listener(ln)
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			conn, err := outer.Accept()
			if err != nil {
				return
			}
			c := framing.NewConn(conn, nil, nil)
			defer c.Close()
			for _, answer := range test.answers {
				if _, err := c.Receive(t.Context()); err != nil {
					return
				}
				c.Send(t.Context(), []byte(answer))
			}
			if len(test.answers) == 0 {
				c.Receive(t.Context())
			}
		})
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		timeout := "5s"
		got := clitest.Run(t, password+"\n", "client", "-port", port, "-ca", filepath.Join(s.keys, rootFile), "-user", "ana", "-text", "pwd", "-timeout", timeout)
		ln.Close()
		wg.Wait()
		require.Equal(t, 1, got.Status, "%q", test.answers)
		require.Contains(t, got.Stderr, test.says)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		require.NotContains(t, got.Stderr, "\x1b")
	}
}

func TestUsage(t *testing.T) {
	s := prepare(t)
	for _, args := range [][]string{
		{"server"},
		{"server", "-users", s.users},
		{"server", "-users", s.users, "-keys", s.keys, "-from", "localhost"},
		{"client", "-port", "1", "-user", "ana"},
		{"client", "-port", "1", "-ca", "x"},
		{"adduser", "-name", "ana"},
		{"adduser", "-users", s.users, "-name", "x", "-memory", "1"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	damaged := filepath.Join(t.TempDir(), "users")
	require.NoError(t, os.WriteFile(damaged, []byte("ana:open sesame\n"), 0o600))
	for _, args := range [][]string{
		{"server", "-users", filepath.Join(s.dir, "none"), "-keys", s.keys},
		{"server", "-users", damaged, "-keys", s.keys},
		{"server", "-users", s.users, "-keys", s.keys, "-dir", filepath.Join(s.dir, "none")},
		{"server", "-users", s.users, "-keys", s.keys, "-log", s.dir},
		{"client", "-port", "1", "-user", "ana", "-ca", filepath.Join(s.dir, "none")},
		{"client", "-port", "1", "-user", "ana", "-ca", s.users},
	} {
		got := clitest.Run(t, password+"\n", args...)
		require.Equal(t, cli.Failure, got.Status, "%v", args)
		require.NotContains(t, got.Stderr, "sesame")
	}
}

func TestCleaner(t *testing.T) {
	const text = "a\x1b[2Jb\x07\tñ\u009b31m日本🙂\r\n\xff\xc3"
	const want = "a[2Jb\tñ31m日本🙂\n?"
	var out bytes.Buffer
	_, err := io.Copy(&cleaner{w: &out}, iotest.OneByteReader(strings.NewReader(text)))
	require.NoError(t, err)
	require.Equal(t, want, out.String())
	out.Reset()
	n, err := (&cleaner{w: &out}).Write([]byte(text))
	require.NoError(t, err)
	require.Equal(t, len(text), n)
	require.Equal(t, want, out.String())
}

// The reference program of the Argon2 authors makes the same hashes.
func TestArgon2(t *testing.T) {
	argon2 := interop.Program(t, "argon2", "argon2")
	cmd := exec.CommandContext(t.Context(), argon2, "saltsaltsaltsalt", "-id", "-t", "2", "-k", "8192", "-p", "4", "-l", "32", "-e")
	cmd.Stdin = strings.NewReader(password)
	out, err := cmd.Output()
	require.NoError(t, err)
	hash, err := bufio.NewReader(bytes.NewReader(out)).ReadString('\n')
	require.NoError(t, err)
	u, err := parseUsers([]byte("ana:" + hash))
	require.NoError(t, err)
	require.True(t, u.check("ana", []byte(password)))
	require.False(t, u.check("ana", []byte("open sesamE")))
	require.Equal(t, strings.TrimSpace(hash), u.secrets["ana"].String())
}
