// Z1 udpfile: files over reliable UDP, over a link as bad as you like, and the
// same over TCP.
package main

import (
	"context"
	"io"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "udpfile",
		Summary: "Files over reliable UDP, over a link as bad as you like, and the same over TCP.",
		Example: `
go run ./examples/distributed/udpfile server -port 1060 -dir /tmp
go run ./examples/distributed/udpfile put -port 1060 -link rate=20mbit,delay=20ms,loss=2% README.md
go run ./examples/distributed/udpfile compare -chart compare.svg
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "keeps the files of a folder: sends them and takes new ones", Setup: serverCommand},
			{Name: "get", Summary: "fetches a file; goes on where an earlier try has stopped", Args: "NAME", Setup: getCommand},
			{Name: "put", Summary: "sends a file; goes on where an earlier try has stopped", Args: "FILE", Setup: putCommand},
			{Name: "compare", Summary: "fetches a file over TCP and over reliable UDP, over the same links: table and chart", Args: "[LINK...]", Setup: compareCommand},
			{Name: "packets", Summary: "shows each packet of a small transfer: sequence, ack, ack bitfield", Setup: packetsCommand},
			{Name: "demo", Summary: "a file over a link that loses packets, over UDP and over TCP", Setup: demoCommand},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}
