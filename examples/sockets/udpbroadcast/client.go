package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// mostAnswers is how many answers to one message are read. A segment has some
// hundreds of machines; who sends more does not want to be heard but to flood.
const mostAnswers = 1000

func client(fs *flag.FlagSet) cli.Action {
	addr, choose := segmentFlags(fs)
	text := fs.String("text", "", "broadcast this one `line` instead of those of standard input")
	wait := cli.Number(fs, "wait", 500*time.Millisecond, time.Millisecond, time.Hour, "collect answers for this `time`")
	expect := cli.Number(fs, "expect", 0, 0, mostAnswers, "stop waiting after this `number` of answers, and fail if there are fewer; 0 waits to the end")
	return func(ctx context.Context, env *cli.Env) error {
		if _, err := addr.Target(); err != nil {
			return err
		}
		s, err := choose()
		if err != nil {
			return err
		}
		b := &broadcaster{segment: s, port: uint16(addr.Port), wait: *wait, expect: *expect, env: env}
		if err := showNeighbours(env, "before", s.Interface); err != nil {
			return err
		}
		lines := cli.Lines(ctx, env.Stdin, maxText)
		if cli.Given(fs, "text") {
			lines = func(yield func(string, error) bool) { yield(*text, nil) }
		}
		for line, err := range lines {
			if err == nil {
				err = b.send(ctx, line)
			}
			if err != nil {
				return err
			}
		}
		return showNeighbours(env, "after", s.Interface)
	}
}

// A broadcaster sends messages to everybody on a segment.
type broadcaster struct {
	segment segment
	port    uint16
	wait    time.Duration
	expect  int
	env     *cli.Env
}

// send broadcasts one line and prints the answers.
func (b *broadcaster) send(ctx context.Context, line string) error {
	if len(line) > maxText {
		return fmt.Errorf("%d bytes are too many for a broadcast: %d fit in one packet", len(line), maxText)
	}
	// An unconnected socket: the answers come from other addresses than the
	// one that is sent to. Go sets the option SO_BROADCAST, without which the
	// system refuses to send there, on every UDP socket. A new socket has a
	// new port, so that late answers to the line before come no more.
	var config net.ListenConfig
	socket, err := config.ListenPacket(ctx, "udp4", netip.AddrPortFrom(b.segment.Prefix.Addr(), 0).String())
	if err != nil {
		return err
	}
	conn := socket.(*net.UDPConn)
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // wakes a read
	defer stop()

	to := netip.AddrPortFrom(b.segment.Broadcast, b.port)
	if _, err := conn.WriteToUDPAddrPort([]byte(line), to); err != nil {
		return err
	}
	fmt.Fprintf(b.env.Stdout, "%d bytes to everybody at %s\n", len(line), to)
	if err := conn.SetReadDeadline(time.Now().Add(b.wait)); err != nil {
		return err
	}
	most := mostAnswers
	if b.expect > 0 {
		most = b.expect
	}
	answers := 0
	var buf [256]byte // of what is longer, the beginning is enough
	for answers < most {
		n, from, err := conn.ReadFromUDPAddrPort(buf[:])
		switch cause := cli.CauseOf(err); {
		case err == nil, cause == cli.TooLong: // Windows says that the buffer was too short
		case cause == cli.TimedOut:
			return b.report(answers)
		case cause == cli.Reset || cause == cli.Refused:
			continue // Windows says here that somebody refuses the message
		default:
			return err
		}
		answers++
		if _, err := fmt.Fprintf(b.env.Stdout, "answer from %s: %q\n", from, buf[:n]); err != nil {
			return err
		}
	}
	return b.report(answers)
}

// report tells how many answers there were.
func (b *broadcaster) report(answers int) error {
	if answers < b.expect {
		return fmt.Errorf("%d of %d answers to %s within %v", answers, b.expect, b.segment.Broadcast, b.wait)
	}
	if answers == 0 {
		// No failure: nobody has to listen, nor those who do to answer.
		_, err := fmt.Fprintf(b.env.Stdout, "no answer within %v: whether anybody has heard it is not known\n", b.wait)
		return err
	}
	_, err := fmt.Fprintf(b.env.Stdout, "answers: %d\n", answers)
	return err
}
