// S10 deadlock: a client sends a long text over TCP and reads the answer only
// when it has sent all of it; the server answers while it reads. As soon as the
// buffers between them are full, each waits until the other reads. Three
// cures, chosen by -cure, get the same text through.
//
// The protocol has no messages. The client sends bytes and closes its
// direction; the server sends each byte back, the letters a to z in upper case,
// and closes its own direction after the last.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// smallBuffer is the default of -buffer: small enough that a text of a few
// hundred kilobytes fills all there is between client and server.
const smallBuffer = 16 << 10

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "deadlock",
		Summary: "Both ends write, nobody reads: how that comes about, and three cures.",
		Example: `
go run ./examples/sockets/deadlock server
go run ./examples/sockets/deadlock client -cure none
go run ./examples/sockets/deadlock client -cure reader
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "sends back what it reads, in upper case, piece by piece", Setup: server},
			{Name: "client", Summary: "sends a text and checks what comes back", Setup: client},
			{Name: "demo", Summary: "plays the deadlock, then the three cures", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// upper changes the letters a to z. It looks at single bytes, because a stream
// may be cut anywhere, also inside a letter of UTF-8 (S7 has lines, and does
// better).
func upper(p []byte) {
	for i, c := range p {
		if 'a' <= c && c <= 'z' {
			p[i] = c - 'a' + 'A'
		}
	}
}

// push writes as much of p as the kernel takes within d. No bytes and no error
// mean that it took nothing in all that time: its buffer is full.
func push(conn net.Conn, p []byte, d time.Duration) (int, error) {
	if err := conn.SetWriteDeadline(time.Now().Add(d)); err != nil {
		return 0, err
	}
	n, err := conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}

// pull reads what there is into p, and waits for it until d has passed. No
// bytes and no error mean that nothing came.
func pull(conn net.Conn, p []byte, d time.Duration) (int, error) {
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return 0, err
	}
	n, err := conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}

// bufferFlag declares -buffer.
func bufferFlag(fs *flag.FlagSet) *int {
	return cli.Number(fs, "buffer", smallBuffer, 0, 1<<30, "ask for send and receive buffers of so many `bytes`; 0 leaves them to the system")
}

// sizeBuffers returns a function that sets both buffers of a socket before it
// is connected or listens. Later would be too late for the receive buffer: the
// first segment already says how much may come, and TCP cannot take that back.
func sizeBuffers(size int) func(network, address string, c syscall.RawConn) error {
	if size == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var setErr error
		err := c.Control(func(fd uintptr) { setErr = setBuffers(fd, size) })
		if err := errors.Join(err, setErr); err != nil {
			return fmt.Errorf("buffers of %d bytes: %w", size, err)
		}
		return nil
	}
}

// queues is what the kernel holds for one socket, in bytes.
type queues struct {
	unsent, unread            int // written and not acknowledged; arrived and not read
	sendBuffer, receiveBuffer int // the room for them
}

// describe says what lies in the kernel's queues of conn, or that the system
// does not tell.
func describe(conn *net.TCPConn) string {
	q, err := look(conn)
	if err != nil {
		return fmt.Sprintf("what the kernel holds is not known: %v", err)
	}
	return fmt.Sprintf("the kernel holds %d bytes to be sent (buffer %d) and %d to be read (buffer %d)",
		q.unsent, q.sendBuffer, q.unread, q.receiveBuffer)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		srv, err := env.Start(ctx, "server", "-port", "0", "-patience", "150ms")
		if err != nil {
			return err
		}
		defer srv.Stop()
		client := func(cure string, more ...string) error {
			_, err := env.Play(ctx, "", append([]string{"client", "-port", srv.Port(), "-cure", cure, "-patience", "400ms"}, more...)...)
			return err
		}
		// Every test with a short text goes well.
		if err := client("none", "-bytes", "4096"); err != nil {
			return err
		}
		err = client("none")
		if _, ok := errors.AsType[*stallError](err); !ok {
			return fmt.Errorf("a text longer than all buffers should have stalled; the client ended with %v", err)
		}
		fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
		for _, cure := range []string{"reader", "nonblocking", "interleave"} {
			if err := client(cure); err != nil {
				return err
			}
		}
		return srv.Stop()
	}
}
