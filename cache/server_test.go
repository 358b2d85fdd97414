package cache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A tape is one end of a connection whose other end has said everything
// already, in pieces of at most step bytes.
type tape struct {
	in   []byte
	step int // 0: all at once
	out  bytes.Buffer
}

func (c *tape) Read(b []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	if c.step > 0 && len(b) > c.step {
		b = b[:c.step]
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *tape) Write(b []byte) (int, error)    { return c.out.Write(b) }
func (*tape) Close() error                     { return nil }
func (*tape) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*tape) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*tape) SetDeadline(time.Time) error      { return nil }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }

// ready prepares a server without a listener.
func ready(t testing.TB, s *Server) *Server {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NoError(t, s.prepare())
	t.Cleanup(func() { s.Close() })
	return s
}

// play has a connection say in, and returns what the server answers.
func play(s *Server, in string, step int) string {
	c := &tape{in: []byte(in), step: step}
	_ = newConn(s, c, c.LocalAddr(), 1).serve()
	return c.out.String()
}

// dialogues are what clients say and what a memcached answers. They can be
// played one after the other.
var dialogues = []struct{ name, in, out string }{
	{"set", "set k 7 0 5\r\nhello\r\nget k\r\n", "STORED\r\nVALUE k 7 5\r\nhello\r\nEND\r\n"},
	{"set empty", "set e 0 0 0\r\n\r\nget e\r\n", "STORED\r\nVALUE e 0 0\r\n\r\nEND\r\n"},
	{"bare line ends", "set k 7 0 5\nhello\r\nget k\n", "STORED\r\nVALUE k 7 5\r\nhello\r\nEND\r\n"},
	{"a value like a command", "set k 0 0 9\r\nget k\r\n\r\n\r\nget k\r\n", "STORED\r\nVALUE k 0 9\r\nget k\r\n\r\n\r\nEND\r\n"},
	{"get many", "get k none e\r\n", "VALUE k 0 9\r\nget k\r\n\r\n\r\nVALUE e 0 0\r\n\r\nEND\r\n"},
	{"get nothing", "get\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"get a long key", "get k " + strings.Repeat("x", 251) + " k\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"add", "add k 0 0 1\r\n1\r\nadd a 0 0 1\r\n1\r\n", "NOT_STORED\r\nSTORED\r\n"},
	{"replace", "replace n 0 0 1\r\n1\r\nreplace a 0 0 1\r\n2\r\nget a n\r\n", "NOT_STORED\r\nSTORED\r\nVALUE a 0 1\r\n2\r\nEND\r\n"},
	{"append", "append n 0 0 1\r\n1\r\nappend a 9 0 2\r\n34\r\nprepend a 9 0 1\r\n1\r\nget a\r\n", "NOT_STORED\r\nSTORED\r\nSTORED\r\nVALUE a 0 4\r\n1234\r\nEND\r\n"},
	{"delete", "delete a\r\ndelete a\r\ndelete\r\n", "DELETED\r\nNOT_FOUND\r\nCLIENT_ERROR bad command line format\r\n"},
	{"incr", "set n 0 0 2\r\n10\r\nincr n 5\r\ndecr n 6\r\nget n\r\ndecr n 100\r\nincr none 1\r\n", "STORED\r\n15\r\n9\r\nVALUE n 0 2\r\n9 \r\nEND\r\n0\r\nNOT_FOUND\r\n"},
	{"incr wraps", "set n 0 0 20\r\n18446744073709551615\r\nincr n 1\r\n", "STORED\r\n0\r\n"},
	{"incr words", "set n 0 0 2\r\nhi\r\nincr n 1\r\nincr n x\r\nincr n -1\r\nincr n\r\n", "STORED\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n" +
		"CLIENT_ERROR invalid numeric delta argument\r\nCLIENT_ERROR invalid numeric delta argument\r\nCLIENT_ERROR bad command line format\r\n"},
	{"touch", "set t 0 0 1\r\n1\r\ntouch t 100\r\nmg t t\r\ntouch none 1\r\ntouch t x\r\n", "STORED\r\nTOUCHED\r\nHD t100\r\nNOT_FOUND\r\nCLIENT_ERROR invalid exptime argument\r\n"},
	{"gat", "gat 200 t none\r\nmg t t\r\ngat x t\r\n", "VALUE t 0 1\r\n1\r\nEND\r\nHD t200\r\nCLIENT_ERROR invalid exptime argument\r\n"},
	{"negative time", "set t 0 -1 1\r\n1\r\nget t\r\n", "STORED\r\nEND\r\n"},
	{"cas", "ms c 1 E5\r\n1\r\ngets c\r\ncas c 0 0 1 4\r\n2\r\ncas c 0 0 1 5\r\n2\r\ncas none 0 0 1 5\r\n2\r\ncas c 0 0 1\r\n2\r\nget c\r\n", "HD\r\nVALUE c 0 1 5\r\n1\r\nEND\r\nEXISTS\r\nSTORED\r\nNOT_FOUND\r\nCLIENT_ERROR bad command line format\r\nVALUE c 0 1\r\n2\r\nEND\r\n"},
	{"noreply", "set q 0 0 1 noreply\r\n1\r\nappend q 0 0 1 noreply\r\n0\r\nincr q 1 noreply\r\ntouch q 0 noreply\r\nadd q 0 0 1 noreply\r\n1\r\ndelete none noreply\r\nget q\r\ndelete q noreply\r\nget q\r\n", "VALUE q 0 2\r\n11\r\nEND\r\nEND\r\n"},
	{"bad chunk", "set b 0 0 1\r\n12\r\nget b\r\n", "CLIENT_ERROR bad data chunk\r\n" + "CLIENT_ERROR bad command line format\r\n" + "END\r\n"},
	{
		"bad numbers", "set b 0 0 -1\r\nset b 0 0 99999999999\r\nset b x 0 1\r\n1\r\nset b 0 x 1\r\n1\r\nset b 0\r\nset b 4294967296 0 1\r\n1\r\n",
		strings.Repeat("CLIENT_ERROR bad command line format\r\n", 6),
	},
	{"long key", "set " + strings.Repeat("x", 251) + " 0 0 1\r\n1\r\nset " + strings.Repeat("x", 250) + " 0 0 1\r\n1\r\n", "CLIENT_ERROR bad command line format\r\nSTORED\r\n"},
	{"too large", "set l 0 0 1\r\n1\r\nset l 0 0 2000000\r\n" + strings.Repeat("x", 2000000) + "\r\nget l\r\n", "STORED\r\nSERVER_ERROR object too large for cache\r\nEND\r\n"},
	{
		"large", "set l 3 0 100000\r\n" + strings.Repeat("0123456789", 10000) + "\r\nget l\r\nappend l 0 0 3\r\nabc\r\nprepend l 0 0 2\r\n>>\r\nmg l s v\r\nincr l 1\r\ndelete l\r\n",
		"STORED\r\nVALUE l 3 100000\r\n" + strings.Repeat("0123456789", 10000) + "\r\nEND\r\nSTORED\r\nSTORED\r\nVA 100005 s100005\r\n>>" + strings.Repeat("0123456789", 10000) + "abc\r\n" +
			"CLIENT_ERROR cannot increment or decrement non-numeric value\r\nDELETED\r\n",
	},
	{"no such command", "frobnicate\r\nx\r\n\r\nGET k\r\n", "ERROR\r\nCLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\nERROR\r\n"},
	{"mg", "ms m 3 F9 T100\r\nabc\r\nmg m\r\nmg m v\r\nmg m s f t k Oxy v\r\nmg none v\r\nmg none k O1\r\nmg none q\r\nmn\r\n", "HD\r\nHD\r\nVA 3\r\nabc\r\nVA 3 s3 f9 t100 km Oxy\r\nabc\r\nEN\r\nEN knone O1\r\nMN\r\n"},
	{"mg once read", "ms h 1\r\n1\r\nmg h h l t u\r\nmg h h\r\nmg h h\r\n", "HD\r\nHD h0 l0 t-1\r\nHD h0\r\nHD h1\r\n"},
	{"mg vivifies", "mg v1 N30 t v\r\nmg v1 N30 v\r\nms v1 2\r\nok\r\nmg v1 v\r\n", "VA 0 t30 W\r\n\r\nVA 0 Z\r\n\r\nHD\r\nVA 2\r\nok\r\n"},
	{"mg recaches", "ms r 1 T30\r\n1\r\nmg r R20\r\nmg r R60\r\nmg r R60\r\n", "HD\r\nHD\r\nHD W\r\nHD Z\r\n"},
	{"mg with cas", "ms w 1 E77\r\n1\r\nmg w C77 v c\r\nmg w C76 v c\r\n", "HD\r\nHD c77\r\nVA 1 c77\r\n1\r\n"},
	{
		"stale", "ms s 1 T60 E100\r\n1\r\nmd s I T30 E101\r\nmg s c t v\r\nmg s v\r\nms s 1 C100 I E102\r\n2\r\nmg s c v\r\nms s 1 C102 E103\r\n3\r\nmg s v\r\n",
		"HD\r\nHD\r\nVA 1 c101 t30 X W\r\n1\r\nVA 1 Z X\r\n1\r\nHD\r\nVA 1 c102 Z X\r\n2\r\nHD\r\nVA 1\r\n3\r\n",
	},
	{
		"ms modes", "ms o 1 MR\r\n1\r\nms o 1 MA\r\n1\r\nms o 1 ME\r\n1\r\nms o 1 ME\r\n1\r\nms o 1 MA s k Oz\r\n2\r\nms o 1 MP\r\n0\r\nmg o v\r\nms o2 1 MA N0\r\n1\r\nms o 1 MX\r\n1\r\n",
		"NS\r\nNS\r\nHD\r\nNS\r\nHD s2 ko Oz\r\nHD\r\nVA 3\r\n012\r\nHD\r\nCLIENT_ERROR invalid mode for ms M token\r\n",
	},
	{"ms quiet", "ms z 1 q\r\n1\r\nms z 1 q ME\r\n1\r\nmn\r\n", "NS\r\nMN\r\n"},
	{"binary key", "ms Zm9v 3 b k\r\nabc\r\nmg foo v\r\nmg Zm9v b k v\r\nms !! 1 b\r\n1\r\n", "HD kZm9v b\r\nVA 3\r\nabc\r\nVA 3 kZm9v b\r\nabc\r\nCLIENT_ERROR error decoding key\r\n"},
	{"md", "md none\r\nms d 1 E1\r\n1\r\nmd d C2 Oo k\r\nmd d C1 q\r\nmn\r\nms d 3 F5\r\nabc\r\nmd d x\r\nmg d s f\r\n", "NF\r\nHD\r\nEX Oo kd\r\nMN\r\nHD\r\nHD\r\nHD s0 f0\r\n"},
	{
		"ma", "ma i\r\nma i N0 J13 v\r\nma i v\r\nma i D5 MD v t\r\nma i T50 t\r\nma i q\r\nma i C99999 v\r\nma i v E7 c\r\nma i MX\r\nms i 1\r\nx\r\nma i\r\n",
		"NF\r\nVA 2\r\n13\r\nVA 2\r\n14\r\nVA 1 t-1\r\n9\r\nHD t50\r\nEX\r\nVA 2 c7\r\n12\r\nCLIENT_ERROR invalid mode for ma M token\r\nHD\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
	},
	{"wrong flags", "mg k v v\r\nmg k !\r\nmg k Tx\r\nms k 1 T1 T2\r\n1\r\nma k Dx\r\nmg\r\nms k x\r\n", "CLIENT_ERROR duplicate flag\r\nCLIENT_ERROR invalid flag\r\nCLIENT_ERROR bad token in command line format\r\nCLIENT_ERROR duplicate flag\r\n" +
		"CLIENT_ERROR invalid or duplicate flag\r\nCLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\n"},
	{"long opaque", "mg none O" + strings.Repeat("x", 31) + "\r\n", "EN O" + strings.Repeat("x", 31) + "\r\n"},
	{"verbosity", "verbosity 1\r\nverbosity x\r\nverbosity 1 noreply\r\n", "OK\r\nCLIENT_ERROR bad command line format\r\n"},
	{"flush", "set f 0 0 1\r\n1\r\nflush_all\r\nget f\r\nset f 0 0 1\r\n2\r\nflush_all 100\r\nget f\r\nflush_all x\r\nflush_all noreply\r\nget f\r\n", "STORED\r\nOK\r\nEND\r\nSTORED\r\nOK\r\nVALUE f 0 1\r\n2\r\nEND\r\nCLIENT_ERROR invalid exptime argument\r\nEND\r\n"},
	{"shutdown", "shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n"},
	{"cache_memlimit", "cache_memlimit 4\r\ncache_memlimit x\r\ncache_memlimit 64\r\n", "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m\r\nERROR\r\nOK\r\n"},
	{"quit", "quit\r\nget k\r\n", ""},
	{"HTTP", "GET / HTTP/1.1\r\nset k 0 0 1\r\n1\r\n", ""},
}

func TestDialogues(t *testing.T) {
	for _, step := range []int{0, 1, 7, 1000} {
		s := ready(t, &Server{})
		for _, d := range dialogues {
			t.Run(fmt.Sprint(d.name, " in pieces of ", step), func(t *testing.T) {
				require.Equal(t, d.out, play(s, d.in, step))
			})
		}
		requireSound(t, s.arena)
	}
}

// A get with more keys than fit in any buffer.
func TestLongGet(t *testing.T) {
	s := ready(t, &Server{})
	var line, want strings.Builder
	line.WriteString("get")
	for i := range 5000 {
		require.Equal(t, "STORED\r\n", play(s, fmt.Sprintf("set key-number-%d 0 0 1\r\n1\r\n", i), 0))
		fmt.Fprintf(&line, " key-number-%d", i)
		fmt.Fprintf(&want, "VALUE key-number-%d 0 1\r\n1\r\n", i)
	}
	for _, step := range []int{0, 100} {
		require.Equal(t, want.String()+"END\r\nMN\r\n", play(s, line.String()+"\r\nmn\r\n", step))
		// The error ends it; nothing of the rest is taken for a command.
		got := play(s, line.String()+" "+strings.Repeat("x", 251)+" a b "+strings.Repeat("c ", 3000)+"\r\nmn\r\n", step)
		require.True(t, strings.HasSuffix(got, "1\r\nCLIENT_ERROR bad command line format\r\nMN\r\n"), got[len(got)-100:])
	}
	require.Empty(t, play(s, "get "+strings.Repeat("x", 5000)+"\r\nmn\r\n", 0), "no key is that long: the connection ends")
}

// requireAsk sends a command and expects the answer.
func requireAsk(t *testing.T, nc net.Conn, in, out string) {
	t.Helper()
	_, err := io.WriteString(nc, in)
	require.NoError(t, err)
	got := make([]byte, len(out))
	_, err = io.ReadFull(nc, got)
	require.NoError(t, err, "after %q", got)
	require.Equal(t, out, string(got))
}

// A lab is a network with a server on it, in virtual time.
type lab struct {
	t      *testing.T
	server *Server
	net    *simnet.Network
	addr   string
	client *simnet.Host
}

// inLab runs f in a bubble. The server is closed afterwards.
func inLab(t *testing.T, s *Server, f func(t *testing.T, l *lab)) {
	synctest.Test(t, func(t *testing.T) {
		network := &simnet.Network{}
		defer network.Close()
		ln, err := network.Host(netip.MustParseAddr("10.0.0.1")).Listen("tcp", ":11211")
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- s.Serve(t.Context(), ln) }()
		l := &lab{t: t, server: s, net: network, addr: "10.0.0.1:11211", client: network.Host(netip.MustParseAddr("10.0.0.2"))}
		f(t, l)
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-served, net.ErrClosed)
	})
}

func (l *lab) dial() net.Conn {
	l.t.Helper()
	nc, err := l.client.DialContext(l.t.Context(), "tcp", l.addr)
	require.NoError(l.t, err)
	return nc
}

func TestExpiry(t *testing.T) {
	inLab(t, &Server{}, func(t *testing.T, l *lab) {
		nc := l.dial()
		defer nc.Close()
		requireAsk(t, nc, "set a 0 10 1\r\n1\r\nset b 0 20 1\r\n2\r\nset c 0 0 1\r\n3\r\n", "STORED\r\nSTORED\r\nSTORED\r\n")
		when := time.Now().Unix() + 100
		requireAsk(t, nc, fmt.Sprintf("set d 0 %d 1\r\n4\r\n", when), "STORED\r\n")
		time.Sleep(9 * time.Second)
		requireAsk(t, nc, "get a\r\n", "VALUE a 0 1\r\n1\r\nEND\r\n")
		time.Sleep(time.Second)
		requireAsk(t, nc, "get a b\r\n", "VALUE b 0 1\r\n2\r\nEND\r\n")
		requireAsk(t, nc, "touch b 60\r\n", "TOUCHED\r\n")
		time.Sleep(50 * time.Second)
		requireAsk(t, nc, "get b c d\r\n", "VALUE b 0 1\r\n2\r\nVALUE c 0 1\r\n3\r\nVALUE d 0 1\r\n4\r\nEND\r\n")
		requireAsk(t, nc, "flush_all 30\r\n", "OK\r\n")
		time.Sleep(29 * time.Second)
		requireAsk(t, nc, "set e 0 0 1\r\n5\r\nget c e\r\n", "STORED\r\nVALUE c 0 1\r\n3\r\nVALUE e 0 1\r\n5\r\nEND\r\n")
		time.Sleep(time.Second)
		requireAsk(t, nc, "set f 0 0 1\r\n6\r\nget c d e f\r\n", "STORED\r\nVALUE f 0 1\r\n6\r\nEND\r\n")
	})
}

func TestIdleTimeout(t *testing.T) {
	inLab(t, &Server{IdleTimeout: 10 * time.Second}, func(t *testing.T, l *lab) {
		idle, busy := l.dial(), l.dial()
		defer idle.Close()
		defer busy.Close()
		for range 20 {
			requireAsk(t, busy, "mn\r\n", "MN\r\n")
			time.Sleep(time.Second)
		}
		_, err := idle.Read(make([]byte, 1))
		require.Error(t, err)
		requireAsk(t, busy, "mn\r\n", "MN\r\n")
		require.EqualValues(t, 1, l.server.Stats().IdleKicks)
	})
}

// Who begins a command and does not go on, or does not take an answer, is not
// waited for.
func TestTimeout(t *testing.T) {
	inLab(t, &Server{Timeout: 10 * time.Second}, func(t *testing.T, l *lab) {
		half, refused, deaf, fine := l.dial(), l.dial(), l.dial(), l.dial()
		for _, nc := range []net.Conn{half, refused, deaf, fine} {
			defer nc.Close()
		}
		requireAsk(t, fine, "set big 0 0 1000000\r\n"+strings.Repeat("x", 1000000)+"\r\n", "STORED\r\n")
		_, err := io.WriteString(half, "set k 0 0 100000\r\n123")
		require.NoError(t, err)
		requireAsk(t, refused, "set k x 0 100000\r\n123", "CLIENT_ERROR bad command line format\r\n")
		_, err = io.WriteString(deaf, strings.Repeat("get big\r\n", 50))
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.EqualValues(t, 4, l.server.Stats().Conns)
		time.Sleep(8 * time.Second)
		require.EqualValues(t, 1, l.server.Stats().Conns)
		requireAsk(t, fine, "mn\r\n", "MN\r\n")
	})
}

func TestShutdownFinishesCommands(t *testing.T) {
	s := &Server{}
	inLab(t, s, func(t *testing.T, l *lab) {
		idle, half := l.dial(), l.dial()
		defer idle.Close()
		defer half.Close()
		requireAsk(t, idle, "mn\r\n", "MN\r\n")
		requireAsk(t, half, "set k 0 0 5\r\n", "")
		time.Sleep(time.Second)
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(t.Context()) }()
		_, err := idle.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		time.Sleep(time.Second)
		requireAsk(t, half, "hello\r\n", "STORED\r\n")
		require.NoError(t, <-done)

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, s.Shutdown(short), "once more")
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.ErrorIs(t, s.Serve(t.Context(), ln), net.ErrClosed)
}

func TestShutdownGivesUp(t *testing.T) {
	inLab(t, &Server{}, func(t *testing.T, l *lab) {
		nc := l.dial()
		defer nc.Close()
		requireAsk(t, nc, "mn\r\nset k 0 0 5\r\n", "MN\r\n")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.ErrorIs(t, l.server.Shutdown(ctx), context.DeadlineExceeded)
	})
}

// Timeout counts during a shutdown, too.
func TestShutdownTimeout(t *testing.T) {
	inLab(t, &Server{Timeout: 10 * time.Second}, func(t *testing.T, l *lab) {
		nc := l.dial()
		defer nc.Close()
		requireAsk(t, nc, "mn\r\nset k 0 0 5\r\n", "MN\r\n")
		require.NoError(t, l.server.Shutdown(t.Context()))
	})
}

func TestServeEndsWithContext(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &Server{}
	defer s.Close()
	require.ErrorIs(t, s.Serve(ctx, ln), context.Canceled)
}

func TestAuthenticate(t *testing.T) {
	s := ready(t, &Server{Authenticate: func(user, password string) bool { return user == "ana" && password == "secret" }})
	for _, test := range []struct{ in, out string }{
		{"get k\r\nset k 0 0 2\r\nhi\r\n", "CLIENT_ERROR unauthenticated\r\nCLIENT_ERROR authentication failure\r\n"},
		{"set x 0 0 9\r\nana wrong\r\nget k\r\n", "CLIENT_ERROR authentication failure\r\nCLIENT_ERROR unauthenticated\r\n"},
		{"set x 0 0 9\r\nbob secret\r\n", "CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR unauthenticated\r\n"},
		{"set x 0 0 2147483640\r\nget k\r\n", "CLIENT_ERROR auth token too long\r\nCLIENT_ERROR unauthenticated\r\n"},
		{"set x 0 0 10\r\nana secret\r\nget k\r\nset k 0 0 2\r\nhi\r\nget k\r\n", "STORED\r\nEND\r\nSTORED\r\nVALUE k 0 2\r\nhi\r\nEND\r\n"},
	} {
		for _, step := range []int{0, 1} {
			require.Equal(t, test.out, play(s, test.in, step), "%q", test.in)
			play(s, "set x 0 0 10\r\nana secret\r\ndelete k\r\n", 0)
		}
	}
	require.EqualValues(t, 4, s.count.authErrors.Load(), "each wrong password, both times")
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	require.Error(t, s.ServePacket(t.Context(), pc))
}

func TestNoFlush(t *testing.T) {
	s := ready(t, &Server{NoFlush: true, NoWatch: true})
	require.Equal(t, "STORED\r\nCLIENT_ERROR flush_all not allowed\r\nVALUE k 0 1\r\n1\r\nEND\r\n", play(s, "set k 0 0 1\r\n1\r\nflush_all\r\nget k\r\n", 0))
	require.Equal(t, "CLIENT_ERROR watch commands not allowed\r\n", play(s, "watch\r\n", 0))
}

func TestShutdownCommand(t *testing.T) {
	asked := make(chan bool, 1)
	s := ready(t, &Server{OnShutdown: func(graceful bool) { asked <- graceful }})
	require.Equal(t, "CLIENT_ERROR invalid shutdown mode\r\n", play(s, "shutdown now\r\n", 0))
	play(s, "shutdown\r\n", 0)
	require.False(t, <-asked)
	play(s, "shutdown graceful\r\n", 0)
	require.True(t, <-asked)
}

func TestDebugTime(t *testing.T) {
	require.Equal(t, "ERROR\r\n", play(ready(t, &Server{}), "debugtime 1\r\n", 0))
	s := ready(t, &Server{DebugTime: true})
	require.Equal(t, "OK\r\nSTORED\r\nOK\r\nEND\r\nOK\r\nERROR\r\n", play(s, "debugtime p\r\nset k 0 10 1\r\n1\r\ndebugtime 10\r\nget k\r\ndebugtime r\r\ndebugtime x\r\n", 0))
}

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "mc") // t.TempDir can be too long for a socket
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Skipf("no Unix sockets here: %v", err)
	}
	s := &Server{}
	served := make(chan error, 1)
	go func() { served <- s.Serve(t.Context(), ln) }()
	nc, err := net.Dial("unix", ln.Addr().String())
	require.NoError(t, err)
	defer nc.Close()
	requireAsk(t, nc, "set k 0 0 1\r\n1\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\n")
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-served, net.ErrClosed)
}

func TestDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &simnet.Network{}
		defer network.Close()
		pc, err := network.Host(netip.MustParseAddr("10.0.0.1")).ListenPacket("udp", ":11211")
		require.NoError(t, err)
		s := &Server{}
		served := make(chan error, 1)
		go func() { served <- s.ServePacket(t.Context(), pc) }()
		client, err := network.Host(netip.MustParseAddr("10.0.0.2")).ListenPacket("udp", ":0")
		require.NoError(t, err)
		defer client.Close()
		to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:11211"))
		// ask sends a request and puts the datagrams of the answer together.
		ask := func(request string) (answer string, datagrams int) {
			_, err := client.WriteTo([]byte("\x12\x34\x00\x00\x00\x01\x00\x00"+request), to)
			require.NoError(t, err)
			buf := make([]byte, 2000)
			for {
				n, _, err := client.ReadFrom(buf)
				require.NoError(t, err)
				require.Equal(t, "\x12\x34", string(buf[:2]))
				require.Equal(t, datagrams, int(buf[2])<<8|int(buf[3]))
				answer += string(buf[8:n])
				datagrams++
				if datagrams == int(buf[4])<<8|int(buf[5]) {
					return answer, datagrams
				}
			}
		}
		answer, n := ask("set k 0 0 5\r\nhello\r\nget k\r\n")
		require.Equal(t, "STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n", answer)
		require.Equal(t, 1, n)
		for _, junk := range []string{"", "1234567", "\x12\x34\x00\x00\x00\x01\x00\x00get k", "\x12\x34\x00\x00\x00\x01\x00\x00set k 0 0 10\r\n12"} {
			_, err := client.WriteTo([]byte(junk), to)
			require.NoError(t, err)
		}
		// What is cut at the end spoils neither the answers before it nor the head.
		for _, cut := range []string{"get k", "set k 0 0 10\r\n12"} {
			answer, _ = ask("mn\r\n" + cut)
			require.Equal(t, "MN\r\n", answer)
		}
		answer, _ = ask("set k 0 x 10\r\n12")
		require.Equal(t, "CLIENT_ERROR bad command line format\r\n", answer)
		for range 10 {
			answer, _ = ask("append k 0 0 1000\r\n" + strings.Repeat("x", 1000) + "\r\n")
			require.Equal(t, "STORED\r\n", answer)
		}
		answer, n = ask("get k\r\n")
		require.Equal(t, "VALUE k 0 10005\r\nhello"+strings.Repeat("x", 10000)+"\r\nEND\r\n", answer)
		require.Equal(t, 8, n)
		answer, _ = ask("get" + strings.Repeat(" k", 500) + "\r\n")
		require.Equal(t, "SERVER_ERROR answer too large for UDP\r\n", answer)
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-served, net.ErrClosed)
	})
}

// What "stats" says is what happened.
func TestStatsCommand(t *testing.T) {
	s := ready(t, &Server{MaxItem: 4 << 10, Settings: map[string]string{"color": "red"}})
	play(s, "set a 0 0 1\r\n1\r\nget a b\r\ntouch a 0\r\ntouch b 0\r\ndelete a\r\ndelete a\r\nincr a 1\r\nset n 0 0 1\r\n1\r\nincr n 1\r\ndecr n 1\r\nset l 0 0 5000\r\n"+strings.Repeat("x", 5000)+"\r\n", 0)
	stats := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(play(s, "stats\r\nstats settings\r\n", 0)))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 3 {
			stats[f[1]] = f[2]
		}
	}
	for name, want := range map[string]string{
		"curr_items": "1", "total_items": "2", "cmd_get": "2", "get_hits": "1", "get_misses": "1", "cmd_set": "2",
		"touch_hits": "1", "touch_misses": "1", "delete_hits": "1", "delete_misses": "1",
		"incr_hits": "1", "incr_misses": "1", "decr_hits": "1", "store_too_large": "1",
		"item_size_max": "4096", "color": "red", "maxbytes": "67108864",
	} {
		require.Equal(t, want, stats[name], name)
	}
	require.Equal(t, "RESET\r\n", play(s, "stats reset\r\n", 0))
	require.Zero(t, s.Stats().Sets)
	require.EqualValues(t, 1, s.Stats().Items)
	require.Equal(t, "ERROR\r\n", play(s, "stats nonsense\r\n", 0))
	require.Contains(t, play(s, "stats cachedump 1 10\r\n", 0), "ITEM n [1 b; 0 s]\r\n")
	require.Contains(t, play(s, "lru_crawler metadump all\r\n", 0), "key=n exp=-1 ")
	require.Equal(t, "OK\r\nPREFIX p get 1 hit 0 set 0 del 1\r\nEND\r\n", strings.ReplaceAll(play(s, "stats detail on\r\nget p:1\r\ndelete p:2 noreply\r\nstats detail dump\r\n", 0), "OK\r\nEND\r\n", "OK\r\n"))
}

// The command watch tells, live, what other connections do. One that does not
// read misses lines, is told how many, and holds nobody up.
func TestWatch(t *testing.T) {
	inLab(t, &Server{}, func(t *testing.T, l *lab) {
		watching, deaf, busy := l.dial(), l.dial(), l.dial()
		for _, nc := range []net.Conn{watching, deaf, busy} {
			defer nc.Close()
		}
		requireAsk(t, deaf, "watch nonsense\r\nwatch\r\n", "ERROR\r\nOK\r\n")
		requireAsk(t, watching, "watch mutations deletions fetchers\r\n", "OK\r\n")
		requireAsk(t, busy, "set k 0 50 2\r\nhi\r\nget k\r\ndelete k\r\n", "STORED\r\nVALUE k 0 2\r\nhi\r\nEND\r\nDELETED\r\n")
		lines := bufio.NewScanner(watching)
		for _, want := range []string{
			`gid=1 type=item_get key=k status=not_found clsid=1 cfd=4 size=0`,
			`gid=2 type=item_store key=k status=stored cmd=set ttl=50 clsid=1 cfd=4 size=2`,
			`gid=3 type=item_get key=k status=found clsid=1 cfd=4 size=2`,
			`gid=4 type=deleted key=k cmd=delete clsid=1 cfd=4 size=2`,
		} {
			require.True(t, lines.Scan())
			require.Regexp(t, `^ts=\d+\.\d{6} `+want+`$`, lines.Text())
		}
		watching.Close()
		key := strings.Repeat("x", 250)
		for range 100 {
			requireAsk(t, busy, strings.Repeat("mg "+key+"\r\n", 100), strings.Repeat("EN\r\n", 100))
			time.Sleep(time.Millisecond)
		}
		text := bufio.NewReader(deaf)
		for i := 0; ; i++ {
			line, err := text.ReadString('\n')
			require.NoError(t, err)
			if strings.HasPrefix(line, "skipped=") {
				break
			}
			if i%100 == 0 {
				requireAsk(t, busy, "mg k\r\n", "EN\r\n")
			}
		}
		deaf.Close()
		time.Sleep(time.Second)
		require.Zero(t, l.server.watchers.count())
		require.False(t, l.server.watchers.wants(watchFetchers))
	})
}

func TestServerTrace(t *testing.T) {
	var mu sync.Mutex
	var events []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, fmt.Sprintf(format, args...))
	}
	s := &Server{MaxConns: 1, Trace: &ServerTrace{
		Opened:  func(net.Addr) { note("opened") },
		Closed:  func(_ net.Addr, err error) { note("closed %v", err) },
		Command: func(_ net.Addr, line []byte) { note("%s", line) },
		Refused: func(net.Addr) { note("refused") },
	}}
	inLab(t, s, func(t *testing.T, l *lab) {
		nc := l.dial()
		requireAsk(t, nc, "set k 0 0 1\r\n1\r\nget k\r\n", "STORED\r\nVALUE k 0 1\r\n1\r\nEND\r\n")
		refused := l.dial()
		_, err := io.ReadAll(refused)
		require.NoError(t, err)
		refused.Close()
		nc.Close()
		time.Sleep(time.Second)
	})
	require.Equal(t, []string{"opened", "set k 0 0 1", "get k", "refused", "closed <nil>"}, events)
}
