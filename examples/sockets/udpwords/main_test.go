package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-format", "single"}, []string{"relay"})
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestSplit(t *testing.T) {
	words, err := split("  En un\tlugar\n\nde la ¡Mancha! ")
	require.NoError(t, err)
	require.Equal(t, []string{"En", "un", "lugar", "de", "la", "¡Mancha!"}, words)
	for text, problem := range map[string]string{
		"":                               "there are no words",
		" \n\t\u2003":                    "there are no words",
		strings.Repeat("x ", maxWords+1): "the message has 1001 words; 1000 are the most",
		"a " + strings.Repeat("x", 1001): "word 2 has 1001 bytes; 1000 are the most",
		strings.Repeat("é", maxWord/2+1): "word 1 has 1002 bytes",
	} {
		_, err := split(text)
		require.ErrorContains(t, err, problem)
	}
	_, err = split(strings.Repeat(strings.Repeat("x", maxWord)+" ", maxWords))
	require.NoError(t, err)
}

func TestShuffle(t *testing.T) {
	order := shuffle(50, 3, seeded(1))
	require.Equal(t, order, shuffle(50, 3, seeded(1)))
	require.NotEqual(t, order, shuffle(50, 3, seeded(2)))
	require.False(t, slices.IsSorted(order))
	require.True(t, allSent(order, 50))
	require.False(t, allSent(order, 51))
	slices.Sort(order)
	for i, position := range order {
		require.Equal(t, i/3+1, position)
	}
	require.False(t, allSent([]int{1, 1, 3}, 3))
	require.False(t, allSent(nil, 1))
}

// What the bytes are, for those who write the other end.
func TestWireFormat(t *testing.T) {
	words := []string{"en", "un", "lugar"}
	text := func(all [][]byte) string { return string(bytes.Join(all, []byte("|"))) }
	require.Equal(t, "3|2|un|1|en|2|un|3|lugar", text(datagrams(pairs, words, []int{2, 1, 2, 3})))
	require.Equal(t, "2/3 un|1/3 en|2/3 un|3/3 lugar", text(datagrams(single, words, []int{2, 1, 2, 3})))
}

func TestWordsIn(t *testing.T) {
	for n, want := range []int{0, 0, 0, 1, 1, 2} {
		require.Equal(t, want, wordsIn(pairs, n), n)
		require.Equal(t, n, wordsIn(single, n))
	}
}

// feed gives datagrams, separated by "|", to an assembly and returns what it
// said, in one line each.
func feed(a *assembly, all string) []string {
	var said []string
	for datagram := range strings.SplitSeq(all, "|") {
		what, err := a.receive([]byte(datagram))
		if err != nil {
			what = "refused: " + err.Error()
		}
		said = append(said, what)
	}
	return said
}

func TestPairs(t *testing.T) {
	a := assembly{format: pairs}
	require.Equal(t, []string{
		"words to come: 3",
		"", `word 2 is "un"`,
		"", `word 2 is "un": known, dropped`,
		"", `word 3 is "7"`,
		"", `word 2 is "dos": but it was "un", dropped`,
	}, feed(&a, "3|2|un|2|un|3|7|2|dos"))
	require.False(t, a.whole())
	require.Equal(t, "… un 7", a.text())
	require.Equal(t, []int{1}, a.missing())
	feed(&a, "1|en")
	require.True(t, a.whole())
	require.Equal(t, "en un 7", a.text())
	require.Empty(t, a.missing())
	require.Equal(t, 2, a.repeats)
	require.Zero(t, a.refused)
}

// Loss and reordering, one case of each: the format cannot notice.
func TestPairsGoWrong(t *testing.T) {
	for name, test := range map[string][2]string{
		"a word is lost: the next position takes its place": {"3|1|2|un|3|lugar|1|en|2|un", "2 un lugar"},
		"a position is lost: the words slip":                {"3|1|en|un|3|2|2|lugar", "en lugar 2"},
		"the count is lost: a position takes its place":     {"2|en|1|un|2|lugar", "un lugar"},
		"a position and its word change places":             {"3|1|en|un|2|3|lugar|3|lugar", "en 3 lugar"},
	} {
		a := assembly{format: pairs}
		feed(&a, test[0])
		require.Equal(t, test[1], a.text(), name)
		require.True(t, a.whole(), name)
	}
}

func TestSingle(t *testing.T) {
	a := assembly{format: single}
	require.Equal(t, []string{
		`word 2 is "un"`,
		`word 2 is "un": known, dropped`,
		`word 3 is "7"`,
		`word 2 is "dos": but it was "un", dropped`,
		`refused: it is of a message of 4 words, not of 3`,
	}, feed(&a, "2/3 un|2/3 un|3/3 7|2/3 dos|1/4 en"))
	require.Equal(t, "… un 7", a.text())
	feed(&a, "1/3 en")
	require.True(t, a.whole())
	require.Equal(t, "en un 7", a.text())
	require.Equal(t, 1, a.refused)
}

// What makes no sense is refused and changes nothing.
func TestRefused(t *testing.T) {
	bad := []string{"", "0", "-1", "+1", "01", "1001", "99999999999999999999", "1.5", "٣", " 3", "x", "\xff"}
	for _, datagram := range bad {
		a := assembly{format: pairs}
		_, err := a.receive([]byte(datagram))
		require.ErrorContains(t, err, "the number of words should come first", "%q", datagram)
		require.Nil(t, a.words)
		require.Equal(t, 1, a.refused)
	}
	for _, datagram := range append(bad, "4") {
		a := assembly{format: pairs}
		feed(&a, "3")
		_, err := a.receive([]byte(datagram))
		require.ErrorContains(t, err, "a position should come now", "%q", datagram)
	}
	for _, word := range []string{"", "two words", "line\nfeed", "\u2003", strings.Repeat("x", maxWord+1)} {
		a := assembly{format: pairs}
		feed(&a, "3|1")
		_, err := a.receive([]byte(word))
		require.Error(t, err, "%q", word)
		require.Equal(t, []string{`word 1 is "en"`}, feed(&a, "en"), "the position still waits for its word")
	}
	for _, datagram := range append(bad, "1/3", "1/3 ", "/3 x", "1/ x", "4/3 x", "0/3 x", "1/1001 x", "1/3 x y", "1 /3 x", "1/3\tx", "1/2/3 x") {
		a := assembly{format: single}
		_, err := a.receive([]byte(datagram))
		require.Error(t, err, "%q", datagram)
		require.Nil(t, a.words, "%q", datagram)
	}
}

func FuzzAssembly(f *testing.F) {
	f.Add(true, "3|1|en|2|un|3|lugar")
	f.Add(true, "2|en|1|un|2|lugar")
	f.Add(false, "1/3 en|3/3 lugar|2/3 un")
	f.Add(false, "1/1000 x|1000/1000 y|\xff/\xff z")
	f.Fuzz(func(t *testing.T, inPairs bool, all string) {
		a := assembly{format: single}
		if inPairs {
			a.format = pairs
		}
		feed(&a, all)
		require.LessOrEqual(t, len(a.words), maxWords)
		require.Equal(t, a.got, len(a.words)-len(a.missing()))
		require.Equal(t, a.words != nil && len(a.missing()) == 0, a.whole())
		if !a.whole() {
			return
		}
		// A message that could be put together could have been sent.
		words, err := split(a.text())
		require.NoError(t, err)
		require.Equal(t, a.words, words)
	})
}

// However one network treats them, words that know their positions never make
// a wrong message. Those that do not, do.
func TestOnlyPairsGoWrong(t *testing.T) {
	words := strings.Fields("1 2 3 uno dos tres 12 7 catorce")
	rnd := seeded(1)
	var pairsWrong int
	for range 1000 {
		link := simnet.Link{
			Delay: 5 * time.Millisecond, Loss: rnd.Float64() / 3, Duplicate: rnd.Float64() / 3,
			Reorder: rnd.Float64(), ReorderBy: time.Duration(rnd.Int64N(int64(10 * time.Millisecond))),
		}
		copies := 1 + rnd.IntN(4)
		require.NotEqual(t, wrong, trial(single, words, copies, link, time.Millisecond, rnd), "%v", link)
		if trial(pairs, words, copies, link, time.Millisecond, rnd) == wrong {
			pairsWrong++
		}
	}
	require.Greater(t, pairsWrong, 300)
}

// Over a perfect link both are right; with loss alone and one copy, single is
// whole as often as all words get through.
func TestTrials(t *testing.T) {
	words := strings.Fields(demoText)
	rnd := seeded(1)
	whole := 0
	for range 2000 {
		for _, format := range []string{pairs, single} {
			require.Equal(t, right, trial(format, words, 1+rnd.IntN(3), simnet.Link{}, time.Millisecond, rnd))
		}
		if trial(single, words, 1, simnet.Link{Loss: 0.1}, time.Millisecond, rnd) == right {
			whole++
		}
	}
	// 0.9¹² = 0.282; five standard deviations of 2,000 are 101.
	require.InDelta(t, 565, whole, 101)
}

// played is what a server printed for a message over a simulated network, on
// virtual time, and how long after the client's last datagram it ended.
type played struct {
	out   string
	err   error
	after time.Duration
}

func play(t *testing.T, network *simnet.Network, format string, all [][]byte) played {
	t.Helper()
	var p played
	synctest.Test(t, func(t *testing.T) {
		defer network.Close()
		conn, err := network.Host(netip.MustParseAddr("192.0.2.1")).ListenPacket("udp", ":1060")
		require.NoError(t, err)
		var out bytes.Buffer
		s := &session{conn: conn, idle: 2 * time.Second, env: &cli.Env{Stdout: &out}}
		s.format = format
		var wg sync.WaitGroup
		var ended time.Time
		wg.Go(func() {
			p.err = s.run(t.Context())
			ended = time.Now()
			conn.Close()
		})
		client, err := network.Host(netip.MustParseAddr("192.0.2.2")).Dial("udp", "192.0.2.1:1060")
		require.NoError(t, err)
		_, err = send(t.Context(), client, all, time.Millisecond)
		if err != nil {
			require.Equal(t, cli.Refused, cli.CauseOf(err))
		}
		last := time.Now()
		wg.Wait()
		p.out, p.after = out.String(), ended.Sub(last)
	})
	return p
}

func TestSessions(t *testing.T) {
	words := strings.Fields(demoText)
	for _, format := range []string{pairs, single} {
		order := shuffle(len(words), 3, seeded(5))
		p := play(t, &simnet.Network{}, format, datagrams(format, words, order))
		require.NoError(t, p.err)
		require.Contains(t, p.out, fmt.Sprintf("message: %q\n", demoText))
		require.Contains(t, p.out, ": known, dropped\n")
		require.Less(t, p.after, 10*time.Millisecond)
	}
	bad := simnet.Link{Loss: 0.1, Delay: 5 * time.Millisecond, Reorder: 0.3, ReorderBy: 3 * time.Millisecond}
	order := shuffle(len(words), 6, seeded(5))
	p := play(t, &simnet.Network{Seed: 2, Link: bad}, single, datagrams(single, words, order))
	require.NoError(t, p.err)
	require.Contains(t, p.out, fmt.Sprintf("message: %q\n", demoText))
	p = play(t, &simnet.Network{Seed: 2, Link: bad}, pairs, datagrams(pairs, words, order))
	require.NotContains(t, p.out, fmt.Sprintf("message: %q\n", demoText))
	require.Contains(t, p.out, "refused: a position should come now: ")
}

// A word that never comes: the server gives up two seconds after the last
// datagram, says what it has and what it lacks.
func TestGivesUp(t *testing.T) {
	p := play(t, &simnet.Network{}, single, [][]byte{[]byte("1/4 en"), []byte("4/4 Mancha"), []byte("1/4 en")})
	require.EqualError(t, p.err, "nothing has come for 2s, and 2 of 4 words are missing: 2 3")
	require.Contains(t, p.out, "datagrams: 3, repeated words dropped: 1, refused: 0\nincomplete: \"en … … Mancha\"\n")
	require.Equal(t, 2*time.Second, p.after.Round(time.Microsecond))

	p = play(t, &simnet.Network{}, pairs, [][]byte{[]byte("30"), []byte("1")})
	require.EqualError(t, p.err, "nothing has come for 2s, and 30 of 30 words are missing: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 …")
}

// A client that never ends does not hold the server for ever.
func TestEndless(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: some ten thousands of datagrams")
	}
	all := [][]byte{[]byte("2")}
	for range maxDatagrams {
		all = append(all, []byte("nonsense"))
	}
	p := play(t, &simnet.Network{}, pairs, all)
	require.EqualError(t, p.err, "after 40001 datagrams 2 of 2 words are missing: 1 2")
}

func TestExchange(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		for _, format := range []string{pairs, single} {
			t.Run(format+" "+host, func(t *testing.T) {
				clitest.NeedHost(t, host)
				srv := clitest.Start(t, "server", "-host", host, "-port", "0", "-format", format)
				got := clitest.Run(t, "En un lugar\nde la ¡Mancha!\n", "client", "-host", host, "-port", srv.Port(), "-format", format, "-copies", "3", "-seed", "1")
				require.Equal(t, cli.OK, got.Status, got.Stderr)
				require.Contains(t, got.Stdout, "words: 6, in the order ")
				require.Equal(t, cli.OK, srv.Wait(), srv.Stderr)
				said := srv.Stdout.String()
				require.True(t, strings.HasSuffix(said, "message: \"En un lugar de la ¡Mancha!\"\n"), said)
				for i, word := range strings.Fields("En un lugar de la ¡Mancha!") {
					require.Equal(t, 1, strings.Count(said, fmt.Sprintf("word %d is %q\n", i+1, word)), said)
				}
			})
		}
	}
}

// The longest way to stop: the client goes on with what it has, and learns
// from the other machine that the server is gone.
func TestServerStopsFirst(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-brief")
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-text", "una", "-copies", "20", "-gap", "100ms")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Regexp(t, `the server has stopped; the last \d+ datagrams are not sent\n$`, got.Stdout)
	require.Equal(t, cli.OK, srv.Wait())
	require.Regexp(t, `(?s)^listening on \S+\na message from \S+\ndatagrams: 3, repeated words dropped: 0, refused: 0\nmessage: "una"\n$`, srv.Stdout.String())
}

// A hundred words, each twice, in pairs: 401 datagrams, which a socket's queue
// can hold even if the server gets no turn to read.
func TestLongMessage(t *testing.T) {
	var words []string
	for i := range 100 {
		words = append(words, "palabra"+strconv.Itoa(i))
	}
	srv := clitest.Start(t, "server", "-port", "0", "-brief")
	got := clitest.Run(t, strings.Join(words, "\n"), "client", "-port", srv.Port())
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Equal(t, cli.OK, srv.Wait(), srv.Stderr)
	require.Contains(t, srv.Stdout.String(), fmt.Sprintf("message: %q\n", strings.Join(words, " ")))
}

func TestStrangers(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0")
	client, stranger := dial(t, srv.Addr), dial(t, srv.Addr)
	say := func(conn net.Conn, text, heard string) {
		t.Helper()
		_, err := io.WriteString(conn, text)
		require.NoError(t, err)
		srv.Stdout.WaitFor(t, heard)
	}
	// Nonsense makes nobody the client.
	say(stranger, "hola", `refused: the number of words should come first: "hola" is no number from 1 to 1000`)
	say(stranger, "", `refused: the number of words should come first: "" is no number`)
	say(client, "2", "a message from "+client.LocalAddr().String()+"\nwords to come: 2\n")
	say(stranger, "1", stranger.LocalAddr().String()+": a stranger, ignored\n")
	_, err := io.WriteString(client, "1")
	require.NoError(t, err)
	say(client, "\x1b[2J\x07", `word 1 is "\x1b[2J\a"`)
	say(client, "1", "")
	say(client, strings.Repeat("x", 60000), "refused: a word of 60000 bytes; 1000 are the most")
	say(client, "otra", `word 1 is "otra": but it was "\x1b[2J\a", dropped`)
	_, err = io.WriteString(client, "2")
	require.NoError(t, err)
	say(client, "dos", `message: "\x1b[2J\a dos"`)
	require.Equal(t, cli.OK, srv.Wait())
	require.NotContains(t, srv.Stdout.String(), "\x1b")
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("udp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestIncomplete(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-format", single, "-idle", "50ms")
	_, err := io.WriteString(dial(t, srv.Addr), "2/3 un")
	require.NoError(t, err)
	require.Equal(t, cli.Failure, srv.Wait())
	require.Contains(t, srv.Stdout.String(), "incomplete: \"… un …\"\n")
	require.Equal(t, "udpwords: nothing has come for 50ms, and 2 of 3 words are missing: 1 3\n", srv.Stderr.String())
}

// Through the relay, with enough copies, single is right; what the relay loses
// is the same each time.
func TestRelay(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-format", single)
	network := clitest.Start(t, "relay", "-port", "0", "-target", srv.Addr, "-link", "loss=20%,dup=10%", "-seed", "9")
	got := clitest.Run(t, "", "client", "-port", network.Port(), "-format", single, "-copies", "10", "-seed", "9", "-text", demoText)
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Equal(t, cli.OK, srv.Wait(), srv.Stderr)
	require.Contains(t, srv.Stdout.String(), fmt.Sprintf("message: %q\n", demoText))
	require.Zero(t, network.Stop())
	require.Regexp(t, `\n\d+ datagrams, [1-9]\d* lost, 0 reordered\n$`, network.Stdout.String())
}

func TestCompare(t *testing.T) {
	args := []string{"compare", "-trials", "200", "-text", demoText}
	got := clitest.Run(t, "", args...)
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Equal(t, got.Stdout, clitest.Run(t, "", args...).Stdout, "the seed decides all")
	rows := regexp.MustCompile(`(?m)^ *(pairs|single) +(\d) +(\d+) +(\d+) +(\d+)$`).FindAllStringSubmatch(got.Stdout, -1)
	require.Len(t, rows, 6, got.Stdout)
	for _, row := range rows {
		sum := 0
		for _, cell := range row[3:] {
			n, err := strconv.Atoi(cell)
			require.NoError(t, err)
			sum += n
		}
		require.Equal(t, 200, sum)
		if row[1] == single {
			require.Equal(t, "0", row[4], "wrong")
		}
	}
	got = clitest.Run(t, "", append(args, "-link", "")...)
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, "over a link with no fault\n")
	require.Equal(t, 6, len(regexp.MustCompile(`(?m)^ *(pairs|single) +\d +200 +0 +0$`).FindAllString(got.Stdout, -1)), got.Stdout)
}

func TestFailures(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	require.NoError(t, err)
	conn.Close()
	got := clitest.Run(t, "", "client", "-port", port, "-text", "en un lugar", "-gap", "20ms")
	require.Equal(t, cli.Failure, got.Status)
	require.Regexp(t, `^udpwords: cannot send to 127\.0\.0\.1:`+port+` over udp: (refused: no program listens there|reset: .*)\n$`, got.Stderr)

	for text, problem := range map[string]string{
		" \n":                            "there are no words in the message",
		strings.Repeat("x", maxText):     "the standard input is too long for a message",
		strings.Repeat("x ", maxWords+1): "the message has 1001 words; 1000 are the most",
	} {
		got := clitest.Run(t, text, "client", "-port", port)
		require.Equal(t, cli.Failure, got.Status)
		require.Equal(t, "udpwords: "+problem+"\n", got.Stderr)
	}
	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-copies", "0"},
		{"client", "-copies", "21"},
		{"client", "-gap", "-1s"},
		{"client", "-format", "triples"},
		{"client", "hola"},
		{"server", "-idle", "0s"},
		{"relay", "-link", "loss=lots"},
		{"compare", "-trials", "0"},
		{"compare", "-link", "loss=1,loss=1"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, cli.BadUsage, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
}

func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	srv := clitest.Start(t, "server", "-port", "0")
	client := clitest.StartClient(t, "", "client", "-port", srv.Port(), "-text", "en un lugar", "-gap", "1m")
	srv.Stdout.WaitFor(t, "words to come: 3\n")
	client.Signal(os.Interrupt)
	require.Equal(t, cli.Interrupted, client.Wait())
	require.Equal(t, "udpwords: interrupted\n", client.Stderr.String())
	require.Zero(t, srv.Stop(), "in the middle of a message")
}

func TestSendStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(simnet.Network)
		defer network.Close()
		conn, err := network.Host(netip.MustParseAddr("192.0.2.2")).Dial("udp", "192.0.2.1:1060")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		sent, err := send(ctx, conn, make([][]byte, 100), 3*time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 4, sent) // at 0, 3, 6 and 9 seconds
	})
}

func TestPythonServer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), interop.Python(t), "-c", clitest.ReadmeProgram(t, 0, "0"))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var port string
	_, err = fmt.Fscanf(out, "listening on port %s\n", &port)
	require.NoError(t, err)
	got := clitest.Run(t, "", "client", "-port", port, "-text", "¡Hola 7 Zócalo!", "-copies", "3")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	said, err := io.ReadAll(out)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
	require.Equal(t, "¡Hola 7 Zócalo!\n", string(said))
}

func TestPythonClient(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-brief")
	out, err := exec.CommandContext(t.Context(), interop.Python(t), "-c", clitest.ReadmeProgram(t, 1, srv.Port())).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, cli.OK, srv.Wait(), srv.Stderr)
	require.Contains(t, srv.Stdout.String(), fmt.Sprintf("message: %q\n", demoText))
}
