package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// A neighbour is an entry of the cache that ARP (RFC 826) fills: the hardware
// address at which a machine of the segment is reached.
type neighbour struct {
	Addr      netip.Addr
	Hardware  string // "02:00:00:00:00:01"
	Interface string
}

// showNeighbours prints the neighbours that the system knows on an interface.
func showNeighbours(env *cli.Env, when, iface string) error {
	all, err := neighbours()
	if err != nil {
		_, err = fmt.Fprintf(env.Stdout, "neighbours %s: %v\n", when, err)
		return err
	}
	var list []string
	for _, n := range all {
		if n.Interface == iface {
			list = append(list, fmt.Sprintf("%s is at %s", n.Addr, n.Hardware))
		}
	}
	if list == nil {
		list = []string{"none known"}
	}
	_, err = fmt.Fprintf(env.Stdout, "neighbours on %s %s: %s\n", iface, when, strings.Join(list, ", "))
	return err
}

// parseARP reads the table that Linux shows in /proc/net/arp (proc_net(5)).
// What it does not understand it leaves out, and likewise entries that are not
// complete: those are of machines that have been asked for and did not answer.
func parseARP(table string) []neighbour {
	var found []neighbour
	for line := range strings.Lines(table) {
		// IP address, HW type, Flags, HW address, Mask, Device
		fields := strings.Fields(line)
		if len(fields) != 6 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue // the line of titles
		}
		const complete = 0x2 // ATF_COM
		if flags, err := strconv.ParseUint(fields[2], 0, 32); err != nil || flags&complete == 0 {
			continue
		}
		found = append(found, neighbour{addr, fields[3], fields[5]})
	}
	return found
}
