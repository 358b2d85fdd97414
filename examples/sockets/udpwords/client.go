package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// maxText is how much of standard input is read: more cannot be a message.
const maxText = maxWords*(maxWord+1) + 1

func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, coursePort)
	format := formatFlag(fs)
	text := fs.String("text", "", "send this `message` instead of standard input")
	copies := cli.Number(fs, "copies", 2, 1, 20, "send each word this `many` times")
	seed := cli.Number(fs, "seed", int64(0), 0, 1<<62, "`number` that decides the order; 0 is different each time")
	gap := cli.Number(fs, "gap", time.Millisecond, 0, time.Minute, "leave this `time` between two datagrams, not to flood the server")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "udp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(env.Stdout, "from %s to %s\n", conn.LocalAddr(), conn.RemoteAddr())
		message := *text
		if !cli.Given(fs, "text") {
			input, err := io.ReadAll(io.LimitReader(cli.Interruptible(ctx, env.Stdin), maxText))
			if err != nil {
				return err
			}
			if len(input) == maxText {
				return errors.New("the standard input is too long for a message")
			}
			message = string(input)
		}
		words, err := split(message)
		if err != nil {
			return err
		}
		order := shuffle(len(words), *copies, dice(*seed))
		all := datagrams(*format, words, order)
		shown := strings.Trim(fmt.Sprint(order[:min(len(order), 30)]), "[]")
		if len(order) > 30 {
			shown += " …"
		}
		fmt.Fprintf(env.Stdout, "words: %d, in the order %s\n", len(words), shown)
		sent, err := send(ctx, conn, all, *gap)
		if cause := cli.CauseOf(err); cause == cli.Refused || cause == cli.Reset {
			// The other machine says that nobody listens there. If all words
			// have been sent, that is a server which has stopped, as it should
			// once it has them; otherwise there was none.
			if rest := len(all) - sent; allSent(order[:wordsIn(*format, sent)], len(words)) {
				_, err = fmt.Fprintf(env.Stdout, "the server has stopped; the last %d datagrams are not sent\n", rest)
				return err
			}
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(env.Stdout, "sent: %d datagrams\n", sent)
		return err
	}
}

// wordsIn returns how many words the first n datagrams of a message bring.
func wordsIn(format string, n int) int {
	if format == pairs {
		return max(0, n-1) / 2
	}
	return n
}

// send sends datagrams with gaps between them and returns how many it could
// send before an error.
func send(ctx context.Context, conn net.Conn, all [][]byte, gap time.Duration) (sent int, err error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, datagram := range all {
		select {
		case <-ctx.Done():
			return i, context.Cause(ctx)
		case <-timer.C:
		}
		if _, err := conn.Write(datagram); err != nil {
			return i, err
		}
		timer.Reset(gap)
	}
	return len(all), nil
}
