package cache

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
	"github.com/zocalo-go/zocalo/internal/testcert"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// FuzzServer says anything to a server, at once and in pieces: the answers must
// be the same, and the items sound.
func FuzzServer(f *testing.F) {
	for _, d := range dialogues {
		if len(d.in) < 5000 {
			f.Add([]byte(d.in), uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		if bytes.Contains(in, []byte("stats")) || bytes.Contains(in, []byte("dump")) {
			t.Skip("time, and the order of hashes")
		}
		var answers [2]string
		for i, step := range []int{0, int(step) + 1} {
			s := &Server{MaxBytes: 1 << 20}
			s.now.paused.Store(1_000_000)
			s.mu.Lock()
			require.NoError(t, s.prepare())
			s.mu.Unlock()
			answers[i] = play(s, string(in), step)
			requireSound(t, s.arena)
			s.Close()
		}
		require.Equal(t, answers[0], answers[1])
	})
}

func FuzzDatagram(f *testing.F) {
	for _, d := range dialogues {
		if len(d.in) < 5000 {
			f.Add([]byte("\x00\x01\x00\x00\x00\x01\x00\x00" + d.in))
		}
	}
	s := ready(f, &Server{MaxBytes: 1 << 20})
	c := newConn(s, nil, nil, 0)
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) >= udpHeader {
			require.LessOrEqual(t, len(c.datagram(in)), maxDatagrams*udpPayload)
		}
	})
}

// One connection too many is told so; when one has left there is room again.
func TestTooManyConnections(t *testing.T) {
	inLab(t, &Server{MaxConns: 10}, func(t *testing.T, l *lab) {
		var conns []net.Conn
		for range 10 {
			nc := l.dial()
			defer nc.Close()
			requireAsk(t, nc, "mn\r\n", "MN\r\n")
			conns = append(conns, nc)
		}
		for range 100 {
			nc := l.dial()
			text, _ := io.ReadAll(nc)
			require.Equal(t, "ERROR Too many open connections\r\n", string(text))
			nc.Close()
		}
		requireAsk(t, conns[9], "mn\r\n", "MN\r\n")
		require.EqualValues(t, 100, l.server.Stats().Rejected)
		conns[0].Close()
		time.Sleep(time.Second)
		nc := l.dial()
		defer nc.Close()
		requireAsk(t, nc, "mn\r\n", "MN\r\n")
	})
}

// exhausted is a listener that fails some times before it accepts.
type exhausted struct {
	net.Listener
	err   error
	times int
}

func (e *exhausted) Accept() (net.Conn, error) {
	if e.times--; e.times >= 0 {
		return nil, &net.OpError{Op: "accept", Err: e.err}
	}
	return e.Listener.Accept()
}

// No descriptor is left for a while: the server waits for one.
func TestNoDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &simnet.Network{}
		defer network.Close()
		host := network.Host(netip.MustParseAddr("10.0.0.1"))
		ln, err := host.Listen("tcp", ":11211")
		require.NoError(t, err)
		s := &Server{}
		require.ErrorIs(t, s.Serve(t.Context(), &exhausted{ln, errors.ErrUnsupported, 1}), errors.ErrUnsupported)
		ln, err = host.Listen("tcp", ":11211")
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- s.Serve(t.Context(), &exhausted{ln, syscall.EMFILE, 100}) }()
		nc, err := network.Host(netip.MustParseAddr("10.0.0.2")).DialContext(t.Context(), "tcp", "10.0.0.1:11211")
		require.NoError(t, err)
		defer nc.Close()
		requireAsk(t, nc, "mn\r\n", "MN\r\n")
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-served, net.ErrClosed)
	})
}

// A client over TLS that is one too many, and says nothing, stops nobody.
func TestTooManyOverTLS(t *testing.T) {
	config, roots := testcert.Server(t)
	now := time.Now() // for the certificates; the bubble lives in another year
	synctest.Test(t, func(t *testing.T) {
		network := &simnet.Network{}
		defer network.Close()
		ln, err := network.Host(netip.MustParseAddr("10.0.0.1")).Listen("tcp", ":11211")
		require.NoError(t, err)
		s := &Server{MaxConns: 1}
		served := make(chan error, 1)
		go func() { served <- s.Serve(t.Context(), tls.NewListener(ln, config)) }()
		var conns []net.Conn
		for range 3 {
			nc, err := network.Host(netip.MustParseAddr("10.0.0.2")).DialContext(t.Context(), "tcp", "10.0.0.1:11211")
			require.NoError(t, err)
			defer nc.Close()
			conns = append(conns, nc)
			time.Sleep(time.Second)
			if len(conns) == 2 {
				conns[0].Close() // the last one may come in
				time.Sleep(time.Second)
			}
		}
		nc := tls.Client(conns[2], &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12, Time: func() time.Time { return now }})
		requireAsk(t, nc, "mn\r\n", "MN\r\n")
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-served, net.ErrClosed)
	})
}

// Garbage costs its own connection at most.
func TestGarbage(t *testing.T) {
	inLab(t, &Server{}, func(t *testing.T, l *lab) {
		good := l.dial()
		defer good.Close()
		requireAsk(t, good, "set k 0 0 1\r\n1\r\n", "STORED\r\n")
		rng := rand.New(rand.NewPCG(1, 2))
		for range 100 {
			bad := l.dial()
			junk := make([]byte, 10_000)
			for i := range junk {
				junk[i] = byte(rng.Uint32())
			}
			_, _ = bad.Write(junk) // perhaps it has hung up already
			requireAsk(t, good, "get k\r\n", "VALUE k 0 1\r\n1\r\nEND\r\n")
			bad.Close()
		}
	})
}

// Who reads slowly gets the value that was there when the get came, to its end.
func TestSlowReader(t *testing.T) {
	inLab(t, &Server{}, func(t *testing.T, l *lab) {
		const size = 1_000_000
		slow, fast := l.dial(), l.dial()
		defer slow.Close()
		defer fast.Close()
		for i := range 10 {
			requireAsk(t, fast, fmt.Sprintf("set k 0 0 %d\r\n%s\r\n", size, strings.Repeat(string(rune('a'+i)), size)), "STORED\r\n")
			if i == 4 {
				requireAsk(t, slow, "get k\r\n", "VALUE k 0 1000000\r\n")
				time.Sleep(time.Second)
			}
		}
		requireAsk(t, fast, "delete k\r\n", "DELETED\r\n")
		requireAsk(t, slow, "mn\r\n", strings.Repeat("e", size)+"\r\nEND\r\nMN\r\n")
		require.Empty(t, l.server.arena.large.values)
	})
}

// A value that memory cannot hold is refused, and the connection goes on.
func TestValueLargerThanMemory(t *testing.T) {
	for _, noEvict := range []bool{false, true} {
		s := ready(t, &Server{MaxBytes: 2 << 20, MaxItem: 16 << 20, NoEvict: noEvict})
		require.Equal(t, "STORED\r\nSERVER_ERROR out of memory storing object\r\nEND\r\nSTORED\r\n",
			play(s, "set k 0 0 1\r\n1\r\nset k 0 0 5000000\r\n"+strings.Repeat("x", 5000000)+"\r\nget k\r\nset k 0 0 1\r\n1\r\n", 0))
		require.Empty(t, s.arena.large.values)
		requireSound(t, s.arena)
	}
}

// A connection that is cut in a large value leaves nothing behind.
func TestCutValue(t *testing.T) {
	s := ready(t, &Server{})
	for _, n := range []int{0, 1, 20_000, 99_999, 100_000, 100_001} {
		require.Empty(t, play(s, "set k 0 0 100000\r\n"+strings.Repeat("x", 100_002)[:n], 0))
		require.Empty(t, s.arena.large.values)
		requireSound(t, s.arena)
	}
	require.Equal(t, "CLIENT_ERROR bad data chunk\r\nEND\r\n", play(s, "set k 0 0 100000\r\n"+strings.Repeat("x", 100_002)+"get k\r\n", 0))
	require.Empty(t, s.arena.large.values)
}

// Connections of all kinds at a time: a value always belongs to its key.
func TestParallel(t *testing.T) {
	s := ready(t, &Server{MaxBytes: 16 << 20})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 60 {
				var in strings.Builder
				for range 20 {
					k := rng.IntN(100)
					// The value is the key, repeated.
					v := strings.Repeat(fmt.Sprintf("<%02d>", k), 1+rng.IntN(1+k*k))
					switch rng.IntN(8) {
					case 0, 1:
						fmt.Fprintf(&in, "set k%02d 0 0 %d noreply\r\n%s\r\n", k, len(v), v)
					case 2:
						fmt.Fprintf(&in, "append k%02d 0 0 %d noreply\r\n%s\r\n", k, len(v), v)
					case 3:
						fmt.Fprintf(&in, "delete k%02d noreply\r\n", k)
					default:
						fmt.Fprintf(&in, "get k%02d k%02d\r\n", k, rng.IntN(100))
					}
				}
				if rng.IntN(100) == 0 {
					fmt.Fprintf(&in, "flush_all noreply\r\ncache_memlimit %d noreply\r\n", 8+rng.IntN(16))
				}
				out := play(s, in.String(), 0)
				for line := range strings.SplitSeq(out, "\r\n") {
					if strings.HasPrefix(line, "VALUE ") || line == "END" || line == "" {
						continue
					}
					require.Equal(t, strings.Repeat(line[:4], len(line)/4), line)
				}
			}
		})
	}
	wg.Wait()
	requireSound(t, s.arena)
}

// An idle connection is small, whatever it has done.
func TestIdleConnectionsAreSmall(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Server{}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), ln) }()
	defer func() { require.NoError(t, s.Close()); <-served }()
	heap := func() uint64 {
		runtime.GC()
		runtime.GC() // twice empties a sync.Pool
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	const conns = 200
	value := strings.Repeat("x", 100_000)
	for i := range conns {
		nc, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(t, err)
		defer nc.Close()
		requireAsk(t, nc, fmt.Sprintf("set k%d 0 0 %d\r\n%s\r\nget k%d\r\n", i, len(value), value, i), fmt.Sprintf("STORED\r\nVALUE k%d 0 100000\r\n%s\r\nEND\r\n", i, value))
	}
	each := (int64(heap()) - int64(before)) / conns
	require.Less(t, each, int64(32<<10), "bytes for each connection, with its client")
}

func TestNoAllocations(t *testing.T) {
	s := ready(t, &Server{})
	play(s, "set k 0 0 1000\r\n"+strings.Repeat("x", 1000)+"\r\nset n 0 0 1\r\n1\r\n", 0)
	c := newConn(s, &tape{}, nil, 1)
	for _, in := range []string{
		"get k k none\r\n", "gets k\r\n", "mg k s v t f\r\n", "set k 0 0 3\r\nabc\r\n", "ms k 3 T100\r\nabc\r\n",
		"delete none\r\n", "incr n 1\r\n", "touch k 0\r\n", "ma n v\r\n", "md none q\r\n",
	} {
		allocs := testing.AllocsPerRun(100, func() {
			c.in, c.r, c.w = c.small[:], 0, copy(c.small[:], in)
			c.out = c.output()[:0]
			line, whole, err := c.line()
			if err != nil {
				t.Fatal(err)
			}
			c.command(line, whole)
		})
		require.Zero(t, allocs, "%q", in)
	}
}

// The real memcached says the same.
func TestServerLikeMemcached(t *testing.T) {
	interop.Program(t, "memcached", "memcached")
	port := freePort(t)
	memcached(t, "-l", "127.0.0.1", "-p", port)
	// Memcached has changed how it answers what is wrongly written, and has got
	// the flag E of meta commands: there Debian's is older than what we follow.
	changed := []string{
		"get nothing", "delete", "incr words", "cas", "bad chunk", "bad numbers", "long key", "no such command",
		"mg with cas", "stale", "ms modes", "md", "ma", "wrong flags", "shutdown",
	}
	s := ready(t, &Server{})
	for _, d := range dialogues {
		t.Run(d.name, func(t *testing.T) {
			if slices.Contains(changed, d.name) {
				return
			}
			nc, err := net.Dial("tcp", "127.0.0.1:"+port)
			require.NoError(t, err)
			defer nc.Close()
			require.NoError(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
			_, err = io.WriteString(nc, d.in+"mn\r\nquit\r\n")
			require.NoError(t, err)
			got, err := io.ReadAll(nc)
			require.NoError(t, err)
			require.Equal(t, play(s, d.in+"mn\r\n", 0), string(got))
		})
	}
}
