package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/httpx"
)

// maxStream bounds what is kept of a request or a reply.
const maxStream = 1 << 20

// client is the course's telnet: it sends what is typed and shows what comes.
func client(fs *flag.FlagSet) cli.Action {
	addr := cli.AddrFlags(fs, 0)
	raw := fs.Bool("raw", false, `send standard input as it is, without making each line end with \r\n`)
	timeout := cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection and, once all is sent, for the reply")
	return func(ctx context.Context, env *cli.Env) error {
		target, err := addr.Target()
		if err != nil {
			return err
		}
		dialer := net.Dialer{Timeout: *timeout}
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err != nil {
			return err
		}
		defer conn.Close()
		unwatch := context.AfterFunc(ctx, func() { conn.Close() })
		defer unwatch()

		// The reply is read while we type: a server may answer, or hang up,
		// at any time.
		var reply bytes.Buffer
		var readErr error
		over := make(chan struct{})
		go func() {
			defer close(over)
			_, readErr = io.Copy(&reply, io.LimitReader(conn, maxStream))
		}()
		sent, err := send(ctx, conn, env.Stdin, *raw, over)
		if err != nil {
			conn.Close()
			<-over
			return err
		}
		if err := conn.SetReadDeadline(time.Now().Add(*timeout)); err != nil {
			return err
		}
		<-over
		fmt.Fprintf(env.Stdout, "sent\n")
		showAll(env.Stdout, sent, nil)
		fmt.Fprintf(env.Stdout, "received\n")
		showAll(env.Stdout, reply.Bytes(), methods(sent))
		if context.Cause(ctx) != nil {
			return context.Cause(ctx)
		}
		if errors.Is(readErr, io.EOF) || (readErr == nil && reply.Len() < maxStream) {
			return nil
		}
		if readErr == nil {
			return fmt.Errorf("the reply is longer than the %d bytes that are shown here", maxStream)
		}
		return readErr
	}
}

// send copies what is typed to the server until the input or the reply is
// over, and returns it. Then it says so to the server, which sees the end of
// the stream and need not wait for another request.
func send(ctx context.Context, conn net.Conn, stdin io.Reader, raw bool, over <-chan struct{}) (sent []byte, err error) {
	for piece, err := range pieces(ctx, stdin, raw) {
		if err != nil {
			return sent, err
		}
		if len(sent)+len(piece) > maxStream {
			return sent, fmt.Errorf("a request of more than %d bytes is not for this program", maxStream)
		}
		if _, err := conn.Write(piece); err != nil {
			return sent, nil // the server hung up; what it said tells why
		}
		sent = append(sent, piece...)
		select {
		case <-over:
			return sent, nil
		default:
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); cli.CauseOf(err) == cli.Unknown {
		return sent, err
	}
	return sent, nil // the server was quicker
}

// pieces yields what to send: lines with the end that HTTP wants, or the bytes
// as they come.
func pieces(ctx context.Context, stdin io.Reader, raw bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if !raw {
			for line, err := range cli.Lines(ctx, stdin, maxStream) {
				if !yield([]byte(line+"\r\n"), err) || err != nil {
					return
				}
			}
			return
		}
		in, buf := cli.Interruptible(ctx, stdin), make([]byte, 4096)
		for {
			n, err := in.Read(buf)
			if n > 0 && !yield(buf[:n], nil) || err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// methods returns the methods of the requests in a stream, in order.
func methods(stream []byte) (list []string) {
	for m := range messages(stream, nil) {
		if m != nil && !m.isResponse() {
			list = append(list, m.method())
		}
	}
	return list
}

// messages takes a stream of messages apart: one after the other, since each
// says where it ends. A nil message with an error is what cannot be one. The
// methods, if any, are those of the requests that responses answer.
func messages(stream []byte, methods []string) iter.Seq2[*message, error] {
	return func(yield func(*message, error) bool) {
		for at := 0; at < len(stream); {
			method := ""
			if len(methods) > 0 {
				method = methods[0]
			}
			m, err := dissect(stream[at:], at, method)
			if !yield(m, err) || err != nil || m.end() == at {
				return
			}
			// An interim response (1xx) precedes the one that answers.
			if len(methods) > 0 && m.isResponse() && m.words[1].text[0] != '1' {
				methods = methods[1:]
			}
			at = m.end()
		}
	}
}

// showAll prints the messages of a stream, and what httpx, which is as strict
// as RFC 9112, says about each request.
func showAll(w io.Writer, stream []byte, methods []string) {
	if len(stream) == 0 {
		fmt.Fprintln(w, "  nothing")
	}
	for m, err := range messages(stream, methods) {
		if err != nil {
			fmt.Fprintf(w, "  %v\n", err)
			if e, ok := errors.AsType[*notHTTP](err); ok {
				verdict(w, stream[e.line.at:])
			}
			return
		}
		m.show(w)
		if !m.isResponse() {
			verdict(w, stream[m.start.at:])
		}
	}
}

// verdict says how a strict server takes a request.
func verdict(w io.Writer, stream []byte) {
	_, err := httpx.ReadRequest(bufio.NewReader(bytes.NewReader(stream)), nil)
	if err == nil {
		return
	}
	if e, ok := errors.AsType[*httpx.ProtocolError](err); ok {
		fmt.Fprintf(w, "  to be answered with status %d: %v\n", e.Status, err)
		return
	}
	fmt.Fprintf(w, "  to be waited for: %v\n", err)
}
