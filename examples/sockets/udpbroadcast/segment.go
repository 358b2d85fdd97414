package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"net/netip"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// A segment is a network that an interface of this machine is on: whoever else
// is on it hears a broadcast.
type segment struct {
	Interface string
	Prefix    netip.Prefix // this machine's own address there, and how many bits name the network
	Broadcast netip.Addr   // the zero Addr if there is none
	Why       string       // there is none
}

// broadcastAddr returns the address for everybody in a network: that of the
// network with all bits of the host set (RFC 919). Otherwise it says why there
// is none.
func broadcastAddr(p netip.Prefix) (addr netip.Addr, why string) {
	switch {
	case !p.IsValid():
		return netip.Addr{}, "not a network"
	case !p.Addr().Is4():
		return netip.Addr{}, "IPv6 has groups instead, ff02::1 for all nodes"
	case p.Bits() == 32:
		return netip.Addr{}, "the network has one address"
	case p.Bits() == 31:
		return netip.Addr{}, "the network has two addresses, both of hosts (RFC 3021)"
	}
	b := p.Addr().As4()
	hosts := ^uint32(0) >> p.Bits() // the bits that name the host
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|hosts)
	return netip.AddrFrom4(b), ""
}

// segments returns the networks of all interfaces that are up.
func segments() ([]segment, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var found []segment
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("interface %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue // a system may list what is no network, such as a hardware address
			}
			s := segment{Interface: i.Name, Prefix: p}
			s.Broadcast, s.Why = broadcastAddr(p)
			if s.Broadcast.IsValid() && i.Flags&net.FlagPointToPoint != 0 {
				s.Broadcast, s.Why = netip.Addr{}, "a line between two machines"
			}
			found = append(found, s)
		}
	}
	return found, nil
}

// segmentFlags declares the flags by which a command is told its segment, and
// returns a function for after parsing. The default is the loopback
// interface's, which no other machine hears.
func segmentFlags(fs *flag.FlagSet) (addr *cli.Addr, choose func() (segment, error)) {
	addr = cli.AddrFlags(fs, coursePort)
	name := fs.String("interface", "", "the network of this `interface`, such as eth0, instead of that of -host")
	return addr, func() (segment, error) {
		all, err := segments()
		if err != nil {
			return segment{}, err
		}
		if *name == "" {
			return byHost(all, addr.Host)
		}
		if cli.Given(fs, "host") {
			return segment{}, cli.Usagef("-host and -interface both name a network: give one of them")
		}
		return byName(all, *name)
	}
}

// byName returns the first segment of an interface that has a broadcast
// address.
func byName(all []segment, name string) (segment, error) {
	why := "no interface of this name is up"
	for _, s := range all {
		if s.Interface != name {
			continue
		}
		if s.Broadcast.IsValid() {
			return s, nil
		}
		why = s.Why
	}
	return segment{}, fmt.Errorf("no broadcast on %s: %s", name, why)
}

// byHost returns the segment on which this machine has the address host, or
// whose broadcast address host is.
func byHost(all []segment, host string) (segment, error) {
	resolved, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return segment{}, err
	}
	addr, _ := netip.AddrFromSlice(resolved.IP)
	addr = addr.Unmap()
	why := "no interface of this machine has this address"
	if addr.Is6() {
		_, why = broadcastAddr(netip.PrefixFrom(addr, 128))
	}
	for _, s := range all {
		mine := addr == s.Prefix.Addr() || addr == s.Broadcast ||
			addr.IsLoopback() && s.Prefix.Contains(addr) // all of 127.0.0.0/8 is ours
		if !mine {
			continue
		}
		if s.Broadcast.IsValid() {
			return s, nil
		}
		why = s.Why
	}
	return segment{}, fmt.Errorf("no broadcast on the network of %s: %s", addr, why)
}
