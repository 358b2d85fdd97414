// S2 udpremote: a server that drops requests on purpose, and a client that
// waits a little longer after each try and in the end gives up. Every request
// carries a number that its answer must bring back, so that neither a stranger
// nor an old answer is believed; the command forger tries both.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

// A request is its id, 8 bytes, and the text; an answer is the same id and the
// length of the text in decimal digits.
const idSize = 8

// maxText is the longest text that fits in a datagram over IPv4 behind the id:
// the 16-bit length of the IP packet (RFC 791) less 20 bytes of IP header and
// 8 of UDP header.
const maxText = 65535 - 20 - 8 - idSize

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "udpremote",
		Summary: "UDP when datagrams get lost: the client tries again, waits longer each time, and believes only its server.",
		Example: `
go run ./examples/sockets/udpremote server -drop 0.5
go run ./examples/sockets/udpremote client -text "hola"
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "answers each request with its length, or drops it", Setup: server},
			{Name: "client", Summary: "asks, from -text or standard input, until an answer comes or patience ends", Setup: client},
			{Name: "forger", Summary: "a server beside which forged and old answers come first", Setup: forger},
			{Name: "demo", Summary: "plays a lossy server, a dead one and the forger", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// message returns the datagram with this id and text.
func message(id uint64, text string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, id), text...)
}

// parse takes a datagram apart. It reports false if there is no whole id.
func parse(datagram []byte) (id uint64, text []byte, ok bool) {
	if len(datagram) < idSize {
		return 0, nil, false
	}
	return binary.BigEndian.Uint64(datagram), datagram[idSize:], true
}

// plain returns an IPv4 address as such when a socket for both families has
// given it as an IPv6 one (::ffff:127.0.0.1).
func plain(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		// With these seeds requests are lost, and none five times in a row.
		srv, err := env.Start(ctx, "server", "-port", "0", "-drop", "0.5", "-seed", "3")
		if err != nil {
			return err
		}
		defer srv.Stop()
		out, err := env.Play(ctx, "¡Hola!\nuno\ndos\n", "client", "-port", srv.Port(), "-seed", "3")
		if err != nil {
			return err
		}
		if !strings.Contains(out, "try 2:") || strings.Count(out, "answer ") != 3 {
			return fmt.Errorf("three answers, one of them after a second try, were to come; the client said %q", out)
		}
		if err := srv.Stop(); err != nil {
			return err
		}

		// A server that is there and never answers cannot be told from one
		// whose machine is off.
		if srv, err = env.Start(ctx, "server", "-port", "0", "-drop", "1"); err != nil {
			return err
		}
		defer srv.Stop()
		_, err = env.Play(ctx, "", "client", "-port", srv.Port(), "-text", "anybody?", "-first", "20ms", "-max", "400ms")
		if !errors.Is(err, errNoAnswer) {
			return fmt.Errorf("the client should have given up; instead: %w", orUnexpected(err))
		}
		fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
		if err := srv.Stop(); err != nil {
			return err
		}

		// The careful client and the one that takes what comes first.
		if srv, err = env.Start(ctx, "forger", "-port", "0"); err != nil {
			return err
		}
		defer srv.Stop()
		out, err = env.As("trusting").Play(ctx, "", "client", "-port", srv.Port(), "-text", "hola", "-trusting")
		if err != nil {
			return err
		}
		if !strings.Contains(out, `answer "`+forgedText+`"`) {
			return fmt.Errorf("the trusting client should have believed the stranger; it said %q", out)
		}
		out, err = env.As("careful").Play(ctx, "hola\nhasta luego\n", "client", "-port", srv.Port())
		if err != nil {
			return err
		}
		if strings.Contains(out, `answer "`+forgedText+`"`) || !strings.Contains(out, `answer "4"`) || !strings.Contains(out, `answer "11"`) {
			return fmt.Errorf("the careful client should have had the true answers only; it said %q", out)
		}
		return srv.Stop()
	}
}

// orUnexpected returns err, or an error that says that there was none.
func orUnexpected(err error) error {
	if err == nil {
		return errors.New("it had an answer")
	}
	return err
}
