// Package names is the name service of the exercises: an Internet of its own,
// in memory, with nothing installed and no address of this machine used; or the
// real one, when a flag says so.
//
//	flags := names.AddFlags(fs, "port")
//	service, err := flags.Open()
//	defer service.Close()
//	answer, err := service.Resolver(nil).Resolve(ctx, "www.example.com.", dnsx.A)
package names

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// Flags say which name service a program asks.
type Flags struct {
	real   bool
	hints  string
	server string
	port   *int
}

// AddFlags declares -real, -root-hints, -server and, under the name that port
// gives, the port of the name servers.
func AddFlags(fs *flag.FlagSet, port string) *Flags {
	f := &Flags{}
	fs.BoolVar(&f.real, "real", false, "ask the name servers of the real Internet, from the root down")
	fs.StringVar(&f.hints, "root-hints", "", "ask the name servers that the root hints in `FILE` lead to")
	fs.StringVar(&f.server, "server", "", "ask the recursive server at this `address`; \"system\" means as this machine is configured")
	f.port = cli.Number(fs, port, 53, 1, 65535, "`port` of the name servers, with -real, -root-hints or -server")
	return f
}

// A Service is a name service, and the network where it is.
type Service struct {
	// Network is that of the Internet in memory, whose hosts can be given
	// servers to talk to; nil if the network is the real one.
	Network *simnet.Network

	// Dial connects to an address on that network, and Source says from which
	// address; nil if it is the real one: what takes them takes nil for that.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Source func(dst netip.Addr) netip.Addr

	roots    []dnsx.NameServer
	port     uint16
	stub     *dnsx.Stub
	internet *dnstest.Internet
}

// Open returns the name service that the flags ask for, in memory if none was
// given.
func (f *Flags) Open() (*Service, error) {
	s := &Service{port: uint16(*f.port)}
	var err error
	switch {
	case f.real && f.hints != "" || f.real && f.server != "" || f.hints != "" && f.server != "":
		return nil, cli.Usagef("-real, -root-hints and -server exclude each other")
	case f.real:
		s.roots, err = dnsx.ParseHints(strings.NewReader(realRoots))
	case f.hints != "":
		var file *os.File
		if file, err = os.Open(f.hints); err != nil {
			return nil, fmt.Errorf("root hints: %w", err)
		}
		defer file.Close()
		if s.roots, err = dnsx.ParseHints(file); err != nil {
			err = fmt.Errorf("%s: %w", f.hints, err)
		}
	case f.server == "system":
		s.stub, err = dnsx.SystemStub()
	case f.server != "":
		s.stub, err = stubFor(f.server, s.port)
	default:
		return Start()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// stubFor returns a stub resolver that asks one server.
func stubFor(server string, port uint16) (*dnsx.Stub, error) {
	at, err := netip.ParseAddrPort(server)
	if err != nil {
		addr, err := netip.ParseAddr(server)
		if err != nil {
			return nil, cli.Usagef("-server: %q is neither an address nor \"system\"", server)
		}
		at = netip.AddrPortFrom(addr, port)
	}
	return &dnsx.Stub{Servers: []netip.AddrPort{at}}, nil
}

// us is the address from which dnstest's Internet is dialled in memory, and one
// of the other family.
var us = [2]netip.Addr{netip.AddrFrom4([4]byte{10, 53, 255, 1}), netip.MustParseAddr("2001:db8:53:ff::1")}

// Start returns the name service in memory, for a program without these flags.
func Start() (*Service, error) {
	s := &Service{Network: &simnet.Network{Link: simnet.Link{Delay: 2 * time.Millisecond}}}
	host := s.Network.Host(us[0], us[1])
	s.Dial, s.Source = host.DialContext, dnsx.SourceFrom(us[:]...)
	var err error
	if s.internet, err = dnstest.Start(dnstest.Config{Network: dnstest.On(s.Network.Host)}); err != nil {
		return nil, err
	}
	s.port = s.internet.Port()
	if s.roots, err = dnsx.ParseHints(strings.NewReader(s.internet.RootHints())); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// SetZone adds a zone to the Internet in memory, as [dnstest.Internet.SetZone]
// does.
func (s *Service) SetZone(text string) error { return s.internet.SetZone(text) }

// InMemory reports whether this is not the real Internet.
func (s *Service) InMemory() bool { return s.internet != nil }

// Iterative returns a resolver that begins at the root. There is none with
// -server.
func (s *Service) Iterative(trace *dnsx.Trace) (*dnsx.Iterative, error) {
	if s.stub != nil {
		return nil, errors.New("-server asks one server; to begin at the root, leave it away")
	}
	return &dnsx.Iterative{Roots: s.roots, Port: s.port, Client: dnsx.Client{Dial: s.Dial, Trace: trace}}, nil
}

// Resolver returns a resolver with a cache of its own.
func (s *Service) Resolver(trace *dnsx.Trace) *dnsx.Cache {
	if s.stub != nil {
		stub := *s.stub
		stub.Client.Trace = trace
		return &dnsx.Cache{Resolver: &stub}
	}
	r, _ := s.Iterative(trace) // there is one
	return &dnsx.Cache{Resolver: r}
}

// Close ends the Internet in memory.
func (s *Service) Close() {
	if s.internet != nil {
		s.internet.Close()
	}
}

// Show returns a name as people write it, and as the DNS has it if that is
// something else. An address literal of mail, "[192.0.2.1]", stays as it is.
func Show(name string) string {
	ascii, unicode := strings.TrimSuffix(name, "."), dnsx.UnicodeName(name)
	switch {
	case strings.HasPrefix(name, "["), unicode == ascii:
		return ascii
	case ascii == "": // the root
		return unicode
	}
	return fmt.Sprintf("%s (%s)", unicode, ascii)
}

// ParseHost reads what a user gives as a host: an address, or a name, which is
// absolute then and in lower case. A URL is neither, nor is a host with a port.
func ParseHost(text string) (name string, addr netip.Addr, err error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return "", addr, nil
	}
	name, err = dnsx.ParseName(text)
	name = strings.ToLower(name)
	last := strings.TrimSuffix(name, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	switch {
	case err != nil, last == "", strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "":
		return "", addr, fmt.Errorf("%.80q is neither a name nor an address", text)
	case strings.Trim(last, "0123456789") == "":
		return "", addr, fmt.Errorf("%.80q is neither a name nor an address: no top-level domain is a number", text)
	}
	return name, addr, nil
}

// realRoots are the servers of the root, as https://www.iana.org/domains/root/servers
// lists them. They change once in a decade, one at a time.
const realRoots = `
. NS a.root-servers.net.
. NS b.root-servers.net.
. NS c.root-servers.net.
. NS d.root-servers.net.
. NS e.root-servers.net.
. NS f.root-servers.net.
. NS g.root-servers.net.
. NS h.root-servers.net.
. NS i.root-servers.net.
. NS j.root-servers.net.
. NS k.root-servers.net.
. NS l.root-servers.net.
. NS m.root-servers.net.
a.root-servers.net. A 198.41.0.4
b.root-servers.net. A 170.247.170.2
c.root-servers.net. A 192.33.4.12
d.root-servers.net. A 199.7.91.13
e.root-servers.net. A 192.203.230.10
f.root-servers.net. A 192.5.5.241
g.root-servers.net. A 192.112.36.4
h.root-servers.net. A 198.97.190.53
i.root-servers.net. A 192.36.148.17
j.root-servers.net. A 192.58.128.30
k.root-servers.net. A 193.0.14.129
l.root-servers.net. A 199.7.83.42
m.root-servers.net. A 202.12.27.33
a.root-servers.net. AAAA 2001:503:ba3e::2:30
b.root-servers.net. AAAA 2801:1b8:10::b
c.root-servers.net. AAAA 2001:500:2::c
d.root-servers.net. AAAA 2001:500:2d::d
e.root-servers.net. AAAA 2001:500:a8::e
f.root-servers.net. AAAA 2001:500:2f::f
g.root-servers.net. AAAA 2001:500:12::d0d
h.root-servers.net. AAAA 2001:500:1::53
i.root-servers.net. AAAA 2001:7fe::53
j.root-servers.net. AAAA 2001:503:c27::2:30
k.root-servers.net. AAAA 2001:7fd::1
l.root-servers.net. AAAA 2001:500:9f::42
m.root-servers.net. AAAA 2001:dc3::35
`
