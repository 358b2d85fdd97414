package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"text/tabwriter"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// ends plays both sides of three connections over loopback.
func ends(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		var text bytes.Buffer
		table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "the peer did\ton the wire\twe read\twe write")
		for _, way := range []struct{ how, wire string }{
			{"shutdown", "FIN"},
			{"close", "FIN, then RST to what we send"},
			{"reset", "RST"},
		} {
			read, write, err := observe(ctx, way.how)
			if err != nil {
				return fmt.Errorf("%s: %w", way.how, err)
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", way.how, way.wire, read, write)
		}
		if err := table.Flush(); err != nil {
			return err
		}
		_, err := env.Stdout.Write(text.Bytes())
		return err
	}
}

// observe connects to itself, has the peer send four bytes and end the stream,
// and says how reading them all ends and what becomes of writing then.
func observe(ctx context.Context, how string) (read, write string, err error) {
	here, peer, err := pair(ctx)
	if err != nil {
		return "", "", err
	}
	defer here.Close()
	defer peer.Close()
	deadline := time.Now().Add(5 * time.Second)
	if err := errors.Join(here.SetDeadline(deadline), peer.SetDeadline(deadline)); err != nil {
		return "", "", err
	}
	if _, err := io.WriteString(peer, "hola"); err != nil {
		return "", "", err
	}
	// They must be here before the end is: a reset may throw them away.
	if _, err := io.ReadFull(here, make([]byte, 4)); err != nil {
		return "", "", err
	}
	if err := finish(peer, how, io.Discard); err != nil {
		return "", "", err
	}
	n, err := here.Read(make([]byte, 1))
	if read, err = outcome(n == 0, err); err != nil {
		return "", "", err
	}
	if how == "shutdown" {
		if _, err := io.WriteString(here, "adiós"); err != nil {
			return "", "", err
		}
		if _, err := io.ReadFull(peer, make([]byte, len("adiós"))); err != nil {
			return "", "", err
		}
		return read, "the peer gets it", nil
	}
	// Write only hands bytes to the kernel: it cannot fail until the peer's
	// kernel has had the time to answer an earlier one with RST.
	for err = nil; err == nil; {
		if _, err = io.WriteString(here, "adiós"); err == nil {
			time.Sleep(time.Millisecond)
		}
	}
	write, err = outcome(true, err)
	return read, "fails: " + write, err
}

// outcome names the cause of the error that ended a Read or Write.
func outcome(ended bool, err error) (string, error) {
	switch cause := cli.CauseOf(err); {
	case !ended || err == nil:
		return "", errors.New("the stream goes on after its end")
	case err == io.EOF:
		return "EOF", nil
	case cause == cli.Reset:
		return "reset", nil
	case cause == cli.HungUp: // EPIPE: our kernel knows already
		return "broken pipe", nil
	default:
		return "", err
	}
}

// pair returns the two ends of a connection over loopback.
func pair(ctx context.Context) (here, peer *net.TCPConn, err error) {
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	// The kernel completes the handshake; Accept only takes the result.
	var dialer net.Dialer
	dialed, err := dialer.DialContext(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	if err := ln.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		dialed.Close()
		return nil, nil, err
	}
	for {
		accepted, err := ln.Accept()
		if err != nil {
			dialed.Close()
			return nil, nil, err
		}
		if accepted.RemoteAddr().String() == dialed.LocalAddr().String() {
			return accepted.(*net.TCPConn), dialed.(*net.TCPConn), nil
		}
		accepted.Close() // a stranger was faster
	}
}
