package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// errNoAnswer ends a request whose every try remained without an answer.
var errNoAnswer = errors.New("the server may be down")

// mostRefusals is how many refused datagrams are told one by one while one
// answer is waited for: a flood of them must not fill the screen.
const mostRefusals = 8

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	text := fs.String("text", "", "send this one `line` instead of those of standard input")
	first := cli.Number(fs, "first", 100*time.Millisecond, time.Millisecond, time.Hour, "wait this `time` for an answer to the first try")
	limit := cli.Number(fs, "max", 2*time.Second, time.Millisecond, time.Hour, "give up when the doubled wait would be longer than this `time`")
	seed := cli.Number(fs, "seed", int64(0), 0, 1<<62, "`number` that decides the chance in the waits; 0 is different each time")
	trusting := fs.Bool("trusting", false, "do as a careless program does: an unconnected socket, and the first datagram is the answer")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		if *first > *limit {
			return cli.Usagef("-first %v is longer than -max %v: no try would be left", *first, *limit)
		}
		var conn net.Conn
		if *trusting {
			conn, err = openToAnybody(ctx, target)
		} else {
			// A connected UDP socket. Nothing is sent yet: the kernel notes the
			// peer, and from now on keeps every other sender's datagrams out.
			var dialer net.Dialer
			conn, err = dialer.DialContext(ctx, "udp", target)
		}
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(env.Stdout, "from %s to %s\n", conn.LocalAddr(), conn.RemoteAddr())

		rnd := dice(*seed)
		a := &asker{
			conn:     conn,
			tries:    func() iter.Seq[time.Duration] { return waits(*first, *limit, rnd) },
			newID:    randomID,
			trusting: *trusting,
			out:      env.Stdout,
		}
		lines := cli.Lines(ctx, env.Stdin, maxText)
		if cli.Given(fs, "text") {
			lines = func(yield func(string, error) bool) { yield(*text, nil) }
		}
		for line, err := range lines {
			if err == nil {
				err = a.ask(ctx, line)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// An asker asks one server, one request after the other.
type asker struct {
	conn     net.Conn // a connected UDP socket
	tries    func() iter.Seq[time.Duration]
	newID    func() uint64
	trusting bool // believe anything
	out      io.Writer

	buf [64 << 10]byte // no datagram is longer
}

// ask sends one line, again and again while no answer comes, and prints every
// wait and the answer. When the waits are used up it returns errNoAnswer. The
// connection is closed when ctx ends.
func (a *asker) ask(ctx context.Context, line string) error {
	if len(line) > maxText {
		return fmt.Errorf("cannot send %d bytes: a UDP datagram has room for %d behind the id", len(line), maxText)
	}
	stop := context.AfterFunc(ctx, func() { a.conn.Close() }) // wakes the read below
	defer stop()

	// All tries have one id: whichever of them is answered, and however late,
	// it is an answer to this request. The next request gets another.
	id := a.newID()
	request := message(id, line)
	start := time.Now()
	try := 0
	for wait := range a.tries() {
		try++
		if _, err := fmt.Fprintf(a.out, "try %d: waiting %v for an answer\n", try, wait.Round(time.Millisecond)); err != nil {
			return err
		}
		if _, err := a.conn.Write(request); err != nil {
			return err
		}
		answer, err := a.await(id, time.Now().Add(wait))
		if cli.CauseOf(err) == cli.TimedOut {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(a.out, "sent %d bytes, answer %q after %v\n", len(line), answer, time.Since(start).Round(time.Microsecond)); err != nil {
			return err
		}
		if counted, err := strconv.Atoi(answer); !a.trusting && (err != nil || counted != len(line)) {
			return fmt.Errorf("%s answers %q to %d bytes", a.conn.RemoteAddr(), answer, len(line))
		}
		return nil
	}
	return fmt.Errorf("no answer from %s to %d tries in %v: %w", a.conn.RemoteAddr(), try, time.Since(start).Round(time.Millisecond), errNoAnswer)
}

// await returns the text of the answer to request id. Whatever else comes is
// refused, and the wait goes on: refusing must not cost the true answer its
// chance, and a flood must not make the wait longer.
func (a *asker) await(id uint64, deadline time.Time) (string, error) {
	if err := a.conn.SetReadDeadline(deadline); err != nil {
		return "", err
	}
	refused := 0
	defer func() {
		if refused > mostRefusals {
			fmt.Fprintf(a.out, "refused: %d more\n", refused-mostRefusals)
		}
	}()
	for {
		n, err := a.conn.Read(a.buf[:])
		if err != nil {
			return "", err
		}
		got, text, ok := parse(a.buf[:n])
		if a.trusting || ok && got == id {
			return string(bytes.Clone(text)), nil
		}
		why := fmt.Sprintf("a datagram of length %d is too short for an id", n)
		if ok {
			why = fmt.Sprintf("an answer to request %016x, not to %016x: %q", got, id, brief(text))
		}
		if refused++; refused <= mostRefusals {
			if _, err := fmt.Fprintf(a.out, "refused: %s\n", why); err != nil {
				return "", err
			}
		}
	}
}

// brief returns the beginning of what a stranger sent.
func brief(text []byte) []byte { return text[:min(len(text), 40)] }

// randomID returns a number that nobody can guess from those before it: who
// cannot see the requests must not be able to answer them.
func randomID() uint64 {
	var b [idSize]byte
	crand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// dice returns a source of chance for a seed, for 0 a different one each time.
func dice(seed int64) *rand.Rand {
	if seed == 0 {
		return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return rand.New(rand.NewPCG(uint64(seed), 0))
}

// anybody makes an unconnected socket look like a connected one, without the
// protection: what it reads may come from anywhere.
type anybody struct {
	*net.UDPConn
	peer netip.AddrPort
}

func openToAnybody(ctx context.Context, target string) (net.Conn, error) {
	peer, err := net.ResolveUDPAddr("udp", target)
	if err != nil {
		return nil, err
	}
	local := ":0"
	if peer.IP.IsLoopback() { // then strangers on this machine will do
		local = net.JoinHostPort(peer.IP.String(), "0")
	}
	var config net.ListenConfig
	socket, err := config.ListenPacket(ctx, "udp", local)
	if err != nil {
		return nil, err
	}
	return &anybody{socket.(*net.UDPConn), peer.AddrPort()}, nil
}

func (a *anybody) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(plain(a.peer)) }

func (a *anybody) Write(p []byte) (int, error) { return a.WriteToUDPAddrPort(p, a.peer) }
