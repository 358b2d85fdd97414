package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math"
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
	clitest.Conventions(t, []string{"server"}, []string{"server", "-drop", "1"}, []string{"forger"})
}

func TestWaits(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		first, limit time.Duration
		doubles      []time.Duration
	}{
		{100 * ms, 2 * time.Second, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms}},
		{100 * ms, 1600 * ms, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms}},
		{100 * ms, 1600*ms - 1, []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms}},
		{time.Second, time.Second, []time.Duration{time.Second}},
		{time.Second, time.Second - 1, nil},
		{1 << 61, math.MaxInt64, []time.Duration{1 << 61, 1 << 62}}, // the next would overflow
	} {
		for seed := range uint64(200) {
			got := slices.Collect(waits(test.first, test.limit, rand.New(rand.NewPCG(seed, 0))))
			require.Len(t, got, len(test.doubles))
			for i, wait := range got {
				require.LessOrEqual(t, wait, test.doubles[i])
				require.GreaterOrEqual(t, wait, test.doubles[i]-test.doubles[i]/4-1)
				if i == 0 {
					require.Equal(t, test.first, wait, "the first wait is as given")
				} else {
					require.Greater(t, wait, got[i-1], "every wait is longer than the one before")
				}
			}
		}
	}
}

// Clients with different seeds do not ask again at the same moments.
func TestWaitsDiffer(t *testing.T) {
	seen := make(map[time.Duration]bool)
	for seed := range uint64(100) {
		for wait := range waits(100*time.Millisecond, 200*time.Millisecond, rand.New(rand.NewPCG(seed, 0))) {
			seen[wait] = true
		}
	}
	require.Greater(t, len(seen), 95)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("1234567"))
	f.Add([]byte("12345678"))
	f.Add(message(1, "hola"))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		id, text, ok := parse(datagram)
		require.Equal(t, len(datagram) >= idSize, ok)
		if ok {
			require.Equal(t, datagram, message(id, string(text)))
		}
	})
}

// What the bytes are, for those who write the other end.
func TestWireFormat(t *testing.T) {
	require.Equal(t, []byte("\x00\x00\x00\x00\x00\x00\x01\x02hola"), message(0x102, "hola"))
	require.Equal(t, []byte("\xff\xff\xff\xff\xff\xff\xff\xff"), message(math.MaxUint64, ""))
}

var (
	serverAddr = netip.MustParseAddr("192.0.2.1")
	clientAddr = netip.MustParseAddr("192.0.2.2")
)

// simulated is a client on a simulated network, inside a synctest bubble.
type simulated struct {
	network *simnet.Network
	server  *simnet.PacketConn
	asker   *asker
	waits   []time.Duration // those that the asker was given, of all requests
	out     bytes.Buffer    // of the asker
}

// simulate makes a network, a socket for the server and an asker whose ids are
// 1, 2, 3 ….
func simulate(t *testing.T, network *simnet.Network) *simulated {
	t.Helper()
	s := &simulated{network: network}
	var err error
	s.server, err = network.Host(serverAddr).ListenPacket("udp", ":1060")
	require.NoError(t, err)
	conn, err := network.Host(clientAddr).Dial("udp", "192.0.2.1:1060")
	require.NoError(t, err)
	t.Cleanup(func() { network.Close() })
	rnd := rand.New(rand.NewPCG(1, 0))
	id := uint64(0)
	s.asker = &asker{
		conn: conn,
		tries: func() iter.Seq[time.Duration] {
			return func(yield func(time.Duration) bool) {
				for wait := range waits(100*time.Millisecond, 2*time.Second, rnd) {
					s.waits = append(s.waits, wait)
					if !yield(wait) {
						return
					}
				}
			}
		},
		newID: func() uint64 { id++; return id },
		out:   &s.out,
	}
	return s
}

// serve runs a server until the test ends. Its handler may use reply.
func (s *simulated) serve(t *testing.T, handle func(from netip.AddrPort, id uint64, text []byte)) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := serve(ctx, s.server, &cli.Env{Stdout: io.Discard, Stderr: io.Discard}, handle); err != nil {
			t.Errorf("the server failed: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func (s *simulated) reply(to netip.AddrPort, id uint64, text string) {
	s.server.WriteToUDPAddrPort(message(id, text), to)
}

// A server that cannot be reached is given up when the last wait is over, not
// sooner and not later, after as many tries as there are waits.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, &simnet.Network{Link: simnet.Link{Down: true}})
		start := time.Now()
		err := s.asker.ask(t.Context(), "hola")
		require.ErrorIs(t, err, errNoAnswer)
		require.Len(t, s.waits, 5)
		var sum time.Duration
		want := ""
		for i, wait := range s.waits {
			sum += wait
			want += fmt.Sprintf("try %d: waiting %v for an answer\n", i+1, wait.Round(time.Millisecond))
		}
		require.Equal(t, sum, time.Since(start))
		require.Equal(t, want, s.out.String())
		require.Equal(t, fmt.Sprintf("no answer from 192.0.2.1:1060 to 5 tries in %v: the server may be down", sum.Round(time.Millisecond)), err.Error())
		require.EqualValues(t, 5, s.network.Stats(clientAddr, serverAddr).Packets)
	})
}

// Every try leaves when the wait before it is over, and bears the same id.
func TestTimesOfTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, &simnet.Network{})
		start := time.Now()
		var times []time.Duration
		s.serve(t, func(from netip.AddrPort, id uint64, text []byte) {
			times = append(times, time.Since(start)-1) // the way takes a nanosecond
			if id != 1 || string(text) != "hola" {
				t.Errorf("request %d: %q", id, text)
			}
			if len(times) == 4 {
				s.reply(from, id, "4")
			}
		})
		require.NoError(t, s.asker.ask(t.Context(), "hola"))
		require.Len(t, s.waits, 4)
		want := []time.Duration{0}
		for _, wait := range s.waits[:3] {
			want = append(want, want[len(want)-1]+wait)
		}
		require.Equal(t, want, times)
		require.Contains(t, s.out.String(), `sent 4 bytes, answer "4" after `+want[3].Round(time.Microsecond).String())
	})
}

// With a round trip of 300 ms the first answer comes after the third try: it is
// taken, since it answers this request. The answers to the other two tries come
// during the next request and are refused.
func TestSlowAndStaleAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, &simnet.Network{Link: simnet.Link{Delay: 150 * time.Millisecond}})
		s.serve(t, func(from netip.AddrPort, id uint64, text []byte) {
			s.reply(from, id, strconv.Itoa(len(text)))
		})
		start := time.Now()
		require.NoError(t, s.asker.ask(t.Context(), "hola"))
		require.Equal(t, 300*time.Millisecond, time.Since(start).Round(time.Microsecond))
		require.Len(t, s.waits, 3)
		s.out.Reset()
		require.NoError(t, s.asker.ask(t.Context(), "adios"))
		require.Equal(t, 600*time.Millisecond, time.Since(start).Round(time.Microsecond))
		stale := "refused: an answer to request 0000000000000001, not to 0000000000000002: \"4\"\n"
		require.Equal(t, 2, strings.Count(s.out.String(), stale), s.out.String())
		require.Contains(t, s.out.String(), "sent 5 bytes, answer \"5\" after 300ms\n")
	})
}

// A thousand requests over a link that loses 30 % each way. Equal seeds give
// equal runs; the share of those given up is that of five losses in a row.
func TestLossyLink(t *testing.T) {
	play := func() (transcript string, failed int) {
		synctest.Test(t, func(t *testing.T) {
			s := simulate(t, &simnet.Network{Seed: 7, Link: simnet.Link{Loss: 0.3, Delay: 10 * time.Millisecond, Duplicate: 0.1}})
			s.serve(t, func(from netip.AddrPort, id uint64, text []byte) {
				s.reply(from, id, strconv.Itoa(len(text)))
			})
			for i := range 1000 {
				err := s.asker.ask(t.Context(), strings.Repeat("x", i))
				if err != nil {
					require.ErrorIs(t, err, errNoAnswer)
					failed++
				}
			}
			transcript = s.out.String()
		})
		return transcript, failed
	}
	first, failed := play()
	second, again := play()
	require.Equal(t, failed, again)
	require.Equal(t, first, second)
	// The way there succeeds with 0.7; the way back too, but one request in ten
	// comes twice and has two answers: 0.9·0.7 + 0.1·(1−0.3²) = 0.721. So one
	// try fails with 1 − 0.7·0.721 = 0.495 and five in a row with 0.495⁵ = 0.030.
	// Five standard deviations of a thousand are 27.
	require.InDelta(t, 30, failed, 27)
}

// A flood of false answers is not all told, does not keep the true one out,
// and does not make the wait longer.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, &simnet.Network{})
		s.serve(t, func(from netip.AddrPort, id uint64, text []byte) {
			for i := range 100 {
				s.reply(from, id+1+uint64(i), "false")
			}
			if id == 1 {
				s.reply(from, id, strconv.Itoa(len(text)))
			}
		})
		require.NoError(t, s.asker.ask(t.Context(), "hola"))
		require.Equal(t, mostRefusals, strings.Count(s.out.String(), "refused: an answer to request"))
		require.Contains(t, s.out.String(), "refused: 92 more\n")
		s.waits = nil
		start := time.Now()
		require.ErrorIs(t, s.asker.ask(t.Context(), "hola"), errNoAnswer)
		var sum time.Duration
		for _, wait := range s.waits {
			sum += wait
		}
		require.Equal(t, sum, time.Since(start))
	})
}

// The kernel's part, in the simulation: a connected socket hears its peer only.
func TestStrangerSimulated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, &simnet.Network{})
		stranger, err := s.network.Host(netip.MustParseAddr("192.0.2.66")).ListenPacket("udp", ":1060")
		require.NoError(t, err)
		s.serve(t, func(from netip.AddrPort, id uint64, text []byte) {
			stranger.WriteToUDPAddrPort(message(id, forgedText), from)
			time.Sleep(time.Millisecond) // virtual: the stranger's is there first
			s.reply(from, id, "4")
		})
		require.NoError(t, s.asker.ask(t.Context(), "hola"))
		require.NotContains(t, s.out.String(), forgedText)
		require.NotContains(t, s.out.String(), "refused")
	})
}

func TestWrongAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, &simnet.Network{})
		answers := map[uint64]string{1: "3", 2: "four", 3: "", 4: "\x1b[2J"}
		s.serve(t, func(from netip.AddrPort, id uint64, text []byte) { s.reply(from, id, answers[id]) })
		for id := range uint64(4) {
			err := s.asker.ask(t.Context(), "hola")
			require.EqualError(t, err, fmt.Sprintf("192.0.2.1:1060 answers %q to 4 bytes", answers[id+1]))
		}
		require.ErrorContains(t, s.asker.ask(t.Context(), strings.Repeat("x", maxText+1)), "cannot send 65500 bytes")
	})
}

// Ctrl-C wakes a client that waits.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t, &simnet.Network{Link: simnet.Link{Down: true}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		require.ErrorIs(t, s.asker.ask(ctx, "hola"), net.ErrClosed)
		require.Equal(t, time.Second, time.Since(start))
	})
	if runtime.GOOS == "windows" {
		return // no signals between processes
	}
	srv := clitest.Start(t, "server", "-port", "0", "-drop", "1")
	client := clitest.StartClient(t, "hola\n", "client", "-port", srv.Port(), "-first", "1h", "-max", "1h")
	client.Stdout.WaitFor(t, "try 1: waiting 1h0m0s for an answer\n")
	client.Signal(os.Interrupt)
	require.Equal(t, cli.Interrupted, client.Wait())
	require.Equal(t, "udpremote: interrupted\n", client.Stderr.String())
}

func TestExchange(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			clitest.NeedHost(t, host)
			srv := clitest.Start(t, "server", "-host", host, "-port", "0", "-drop", "0")
			// One long wait: however busy the machine is, no second try.
			got := clitest.Run(t, "hola\n\n¡Zócalo!", "client", "-host", host, "-port", srv.Port(), "-first", "20s", "-max", "20s")
			require.Equal(t, cli.OK, got.Status, got.Stderr)
			require.Regexp(t, `^from \S+ to \S+
try 1: waiting 20s for an answer
sent 4 bytes, answer "4" after \S+
try 1: waiting 20s for an answer
sent 0 bytes, answer "0" after \S+
try 1: waiting 20s for an answer
sent 10 bytes, answer "10" after \S+
$`, got.Stdout)
			srv.Stdout.WaitFor(t, `"¡Zócalo!" (10 bytes) answered`)
			got = clitest.Run(t, "not this", "client", "-host", host, "-port", srv.Port(), "-text", strings.Repeat("x", 8000))
			require.Contains(t, got.Stdout, `sent 8000 bytes, answer "8000"`, got.Stderr)
		})
	}
}

// What is dropped is decided by the seed, and about as often as was asked for.
func TestDrops(t *testing.T) {
	play := func(seed string) string {
		srv := clitest.Start(t, "server", "-port", "0", "-drop", "0.5", "-seed", seed)
		conn, err := net.Dial("udp", srv.Addr)
		require.NoError(t, err)
		defer conn.Close()
		fate := ""
		for i := range 100 {
			_, err := conn.Write(message(uint64(i), "request "+strconv.Itoa(i)))
			require.NoError(t, err)
			said := srv.Stdout.WaitFor(t, fmt.Sprintf("%q (", "request "+strconv.Itoa(i)))
			if strings.Contains(said, fmt.Sprintf("%q (%d bytes) dropped", "request "+strconv.Itoa(i), 8+len(strconv.Itoa(i)))) {
				fate += "-"
			} else {
				fate += "+"
			}
		}
		return fate
	}
	one := play("1")
	require.Equal(t, one, play("1"))
	require.NotEqual(t, one, play("2"))
	require.InDelta(t, 50, strings.Count(one, "-"), 25) // five standard deviations
}

func TestForger(t *testing.T) {
	srv := clitest.Start(t, "forger", "-port", "0")
	stranger := regexp.MustCompile(`the stranger is (\S+)\n`).FindStringSubmatch(srv.Stdout.WaitFor(t, "the stranger is 127.0.0.1:"))
	require.NotNil(t, stranger)

	// The trusting client takes the first datagram, whoever sent it.
	got := clitest.Run(t, "", "client", "-port", srv.Port(), "-text", "hola", "-trusting", "-first", "20s", "-max", "20s")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Contains(t, got.Stdout, `sent 4 bytes, answer "1000000"`)

	// The careful one never sees the stranger's, and says why it refuses the
	// others: a guess, a piece, and for the second line the stale answer too.
	got = clitest.Run(t, "hola\nadiós\n", "client", "-port", srv.Port(), "-first", "20s", "-max", "20s")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	guess := `refused: an answer to request [0-9a-f]{16}, not to [0-9a-f]{16}: "1000000"\n`
	require.Regexp(t, `^from .*\ntry 1: .*\n`+guess+`refused: a datagram of length 1 is too short for an id\nsent 4 bytes, answer "4" after .*\n`+
		`try 1: .*\n`+guess+`refused: an answer to request [0-9a-f]{16}, not to [0-9a-f]{16}: "4"\n`+
		`refused: a datagram of length 1 is too short for an id\nsent 6 bytes, answer "6" after .*\n$`, got.Stdout)
}

// Ids are not to be guessed: no two alike, and no bit that stays.
func TestIDs(t *testing.T) {
	seen := make(map[uint64]bool)
	all, any := uint64(math.MaxUint64), uint64(0)
	for range 200 {
		id := randomID()
		require.False(t, seen[id])
		seen[id] = true
		all &= id
		any |= id
	}
	require.Zero(t, all)
	require.Equal(t, uint64(math.MaxUint64), any)
}

// Rubbish disturbs nobody: the next request is answered.
func TestServerRubbish(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-drop", "0")
	conn, err := net.Dial("udp", srv.Addr)
	require.NoError(t, err)
	defer conn.Close()
	for _, rubbish := range []string{"", "x", "1234567"} {
		_, err := io.WriteString(conn, rubbish)
		require.NoError(t, err)
		srv.Stdout.WaitFor(t, fmt.Sprintf("a datagram of length %d is too short for an id, ignored\n", len(rubbish)))
	}
	got := clitest.Run(t, "\x1b[2J\x07\xff\n", "client", "-port", srv.Port())
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	srv.Stdout.WaitFor(t, `"\x1b[2J\a\xff" (6 bytes) answered`)
}

func TestFailures(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	require.NoError(t, err)
	got := clitest.Run(t, "hola\n", "client", "-port", port, "-first", "10ms", "-max", "20ms")
	require.Equal(t, cli.Failure, got.Status)
	require.Regexp(t, `^udpremote: no answer from 127\.0\.0\.1:`+port+` to 2 tries in \d+ms: the server may be down\n$`, got.Stderr)
	conn.Close()
	got = clitest.Run(t, "hola\n", "client", "-port", port)
	require.Equal(t, cli.Failure, got.Status)
	require.Regexp(t, `^udpremote: cannot (read from|send to) 127\.0\.0\.1:`+port+` over udp: (refused: no program listens there|reset: .*)\n$`, got.Stderr)
	got = clitest.Run(t, strings.Repeat("x", maxText+1), "client", "-port", port)
	require.Equal(t, cli.Failure, got.Status)
	require.Equal(t, "udpremote: line 1 of the input is longer than 65499 bytes\n", got.Stderr)

	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-first", "0s"},
		{"client", "-first", "3s"}, // longer than -max
		{"client", "-max", "soon"},
		{"client", "-seed", "-1"},
		{"client", "hola"},
		{"server", "-drop", "1.1"},
		{"server", "-drop", "NaN"},
		{"server", "-drop", "half"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, cli.BadUsage, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
}

func TestPythonServer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), interop.Python(t), "-c", clitest.ReadmeProgram(t, 0, "0"))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Wait() }) // t.Context has ended it
	var port string
	_, err = fmt.Fscanf(out, "listening on port %s\n", &port)
	require.NoError(t, err)
	go io.Copy(io.Discard, out)
	// It drops at random: so that no test in a million runs fails by it, the
	// client is patient.
	got := clitest.Run(t, "hola\n¡Zócalo!\n\n", "client", "-port", port, "-first", "1ms", "-max", "1048576ms")
	require.Equal(t, cli.OK, got.Status, got.Stderr)
	require.Equal(t, []string{`answer "4"`, `answer "10"`, `answer "0"`}, regexp.MustCompile(`answer "\d*"`).FindAllString(got.Stdout, -1))
}

func TestPythonClient(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-drop", "0.5", "-seed", "4")
	out, err := exec.CommandContext(t.Context(), interop.Python(t), "-c", clitest.ReadmeProgram(t, 1, srv.Port())).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "the answer is 16\n")
	said := srv.Stdout.WaitFor(t, `"¡Hola, Zócalo!" (16 bytes) answered`)
	require.NotZero(t, strings.Count(said, "dropped"))
	// On a busy machine an answer may be late besides.
	require.GreaterOrEqual(t, strings.Count(string(out), "waited"), strings.Count(said, "dropped"))

	// The Python client is careful as well, against our forger.
	forger := clitest.Start(t, "forger", "-port", "0")
	out, err = exec.CommandContext(t.Context(), interop.Python(t), "-c", clitest.ReadmeProgram(t, 1, forger.Port())).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "the answer is 16\n")
	require.NotContains(t, string(out), forgedText)

	// And gives up.
	silent := clitest.Start(t, "server", "-port", "0", "-drop", "1")
	out, err = exec.CommandContext(t.Context(), interop.Python(t), "-c", clitest.ReadmeProgram(t, 1, silent.Port())).CombinedOutput()
	require.Error(t, err, "%s", out)
	require.Contains(t, string(out), "the server may be down")
}

// The ids of several clients at a time: each gets its own answers.
func TestManyClients(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-drop", "0")
	const clients, rounds = 30, 20
	problems := make(chan error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			problems <- func() error {
				conn, err := net.Dial("udp", srv.Addr)
				if err != nil {
					return err
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(clitest.Limit))
				buf := make([]byte, 100)
				for round := range rounds {
					id := uint64(i*rounds + round)
					if _, err := conn.Write(message(id, strings.Repeat("x", i))); err != nil {
						return err
					}
					n, err := conn.Read(buf)
					if err != nil {
						return err
					}
					if n < idSize || binary.BigEndian.Uint64(buf) != id || string(buf[idSize:n]) != strconv.Itoa(i) {
						return fmt.Errorf("%q answers request %d of %d bytes", buf[:n], id, i)
					}
				}
				return nil
			}()
		})
	}
	wg.Wait()
	for range clients {
		require.NoError(t, <-problems)
	}
}
