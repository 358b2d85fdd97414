// W5 cookies: Susana's shop knows her a week later: the server gives her an id
// in a cookie and keeps her cart in a database. And what a third party learns
// that two shops have on their pages.
package main

import (
	"context"
	"io"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "cookies",
		Summary: "A shop that knows its clients again, a browser with a cookie file, and who else is watching.",
		Example: `
go run ./examples/web/cookies shop -port 8001 -db shop.db
go run ./examples/web/cookies browse -jar susana.json -at books.test=127.0.0.1:8001 http://books.test/add?item=quixote http://books.test/
`,
		Commands: []cli.Command{
			{Name: "shop", Summary: "the server: an id for each client, carts in a database", Setup: shop},
			{Name: "ads", Summary: "a third party whose picture is on the pages of shops", Setup: ads},
			{Name: "browse", Summary: "fetches pages and the pictures in them, with cookies kept in a file", Args: "URL...", Setup: browse},
			{Name: "demo", Summary: "Susana shops, comes back a week later, and is watched", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}
