// S8 echo: the echo service of RFC 862, over TCP and over UDP at the same port
// number, for many clients at a time; and what its packets look like, captured
// live or recorded.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet. The port of RFC 862 is 7,
// which most systems give to root only.
const coursePort = 1060

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "echo",
		Summary: "What a client sends comes back, over TCP and over UDP; the packets are captured and explained.",
		Example: `
go run ./examples/sockets/echo server
go run ./examples/sockets/echo client -data "hola"
go run ./examples/sockets/echo client -udp -data "hola"
go run ./examples/sockets/echo explain
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "echoes what comes over TCP and over UDP, on one port number", Setup: server},
			{Name: "client", Summary: "sends -data, or lines of standard input, and checks what comes back", Setup: client},
			{Name: "explain", Summary: "tells what the packets of a pcap file say; without FILE, those of a recorded capture", Args: "[FILE]", Setup: explain},
			{Name: "demo", Summary: "plays a server, many clients at once, and explains the packets of three", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		if err := demoMany(ctx, env); err != nil {
			return err
		}
		fmt.Fprintln(env.Stdout)
		return demoPackets(ctx, env)
	}
}

// demoMany plays one server and many clients at the same time.
func demoMany(ctx context.Context, env *cli.Env) error {
	srv, err := env.Start(ctx, "server", "-port", "0")
	if err != nil {
		return err
	}
	defer srv.Stop()
	const each = 3
	errs := make([]error, 2*each)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			args := []string{"client", "-port", srv.Port(), "-data", fmt.Sprintf("hola %d", i+1)}
			if i >= each {
				args = append(args, "-udp")
			}
			out, err := env.As(fmt.Sprintf("client %d", i+1)).Play(ctx, "", args...)
			if err == nil && !strings.Contains(out, "the same 6 came back") {
				err = fmt.Errorf("client %d did not get its own back: %q", i+1, out)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errors.Join(errs...), srv.Stop())
}

// demoPackets captures three exchanges and explains them.
func demoPackets(ctx context.Context, env *cli.Env) error {
	dir, err := os.MkdirTemp("", "echo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "echo.pcap")
	srv, err := env.Start(ctx, "server", "-port", "0", "-pcap", file)
	if err != nil {
		return err
	}
	defer srv.Stop()
	toServer := []string{"client", "-port", srv.Port(), "-data", "hola"}
	for _, more := range [][]string{nil, nil, {"-udp"}} {
		if _, err := env.Play(ctx, "", append(toServer, more...)...); err != nil {
			return err
		}
	}
	if err := srv.Stop(); err != nil {
		return err
	}
	args := []string{"explain", file}
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		args = args[:1] // the server has said why: what was recorded must do
	}
	out, err := env.Play(ctx, "", args...)
	if err != nil {
		return err
	}
	for _, want := range []string{"SYN ACK", "the handshake is complete", "UDP: 1 client, 2 packets", "first sequence numbers of the clients: "} {
		if !strings.Contains(out, want) {
			return fmt.Errorf("the explanation lacks %q", want)
		}
	}
	return nil
}
