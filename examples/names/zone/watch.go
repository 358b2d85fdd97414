package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// watch looks at zone files again and again until ctx ends. One that has
// changed replaces its zone, and the secondaries are told. One that is wrong changes
// nothing.
func watch(ctx context.Context, out io.Writer, s *dnsx.Server, names []string, every time.Duration, secondaries []netip.AddrPort) {
	changed := map[string]time.Time{}
	serials := map[string]uint32{}
	for _, z := range s.Zones {
		serials[z.Origin()] = z.Serial()
	}
	for _, name := range names {
		changed[name] = modified(name)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		for _, name := range names {
			at := modified(name)
			if at.Equal(changed[name]) {
				continue
			}
			changed[name] = at
			z, err := readZone(name)
			switch {
			case err != nil:
				fmt.Fprintf(out, "not taken: %s\n", cli.Explain(err))
				continue
			case z.Serial() == serials[z.Origin()]:
				fmt.Fprintf(out, "not taken: %s still has the serial %d, so no secondary would look\n", name, z.Serial())
				continue
			}
			s.SetZone(z)
			serials[z.Origin()] = z.Serial()
			fmt.Fprintf(out, "zone %s serial %d\n", z.Origin(), z.Serial())
			for _, server := range secondaries {
				if err := notify(ctx, (&net.Dialer{}).DialContext, server, z); err != nil && ctx.Err() == nil {
					fmt.Fprintf(out, "NOTIFY: %s\n", cli.Explain(err))
				}
			}
		}
	}
}

// modified is when a file was changed last; the zero time if it is not there.
func modified(name string) time.Time {
	info, err := os.Stat(name)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
