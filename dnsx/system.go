package dnsx

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxConfig     = 16 << 20 // octets of a hosts file or resolv.conf
	maxConfigLine = 64 << 10
	maxSearch     = 32
)

// SystemStub returns a stub resolver with the servers and search list of
// /etc/resolv.conf and the hosts file. Windows keeps its servers elsewhere:
// there, give them.
func SystemStub() (*Stub, error) {
	hostsFile := "/etc/hosts"
	if runtime.GOOS == "windows" {
		hostsFile = filepath.Join(os.Getenv("SystemRoot"), `System32\drivers\etc\hosts`)
	}
	file, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return nil, fmt.Errorf("dnsx: the system's resolver: %w", err)
	}
	defer file.Close()
	stub, err := ParseResolvConf(file)
	if err != nil {
		return nil, err
	}
	file, err = os.Open(hostsFile)
	if err != nil {
		return stub, nil // not every machine has one
	}
	defer file.Close()
	stub.Hosts, err = ParseHosts(file)
	return stub, err
}

// ParseResolvConf reads the format of resolv.conf(5): nameserver, domain,
// search and options (ndots, timeout, attempts, rotate, use-vc, trust-ad). What
// it does not know it skips, as the C library does; the first three servers
// count, and without any it is 127.0.0.1.
func ParseResolvConf(r io.Reader) (*Stub, error) {
	s := new(Stub)
	for line, err := range configLines(r, "#;") {
		if err != nil {
			return nil, fmt.Errorf("dnsx: resolv.conf: %w", err)
		}
		switch line[0] {
		case "nameserver":
			if len(line) < 2 || len(s.Servers) == 3 {
				continue
			}
			if addr, err := netip.ParseAddr(line[1]); err == nil {
				s.Servers = append(s.Servers, netip.AddrPortFrom(addr, 0))
			}
		case "domain", "search":
			s.Search = nil // the last line counts
			for _, domain := range line[1:min(len(line), 1+maxSearch)] {
				if name, err := foldName(domain); err == nil {
					s.Search = append(s.Search, name)
				}
			}
		case "options":
			for _, option := range line[1:] {
				s.option(option)
			}
		}
	}
	if len(s.Servers) == 0 {
		s.Servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)}
	}
	return s, nil
}

// option reads one word of an options line.
func (s *Stub) option(option string) {
	name, value, _ := strings.Cut(option, ":")
	n, err := strconv.Atoi(value)
	number := err == nil && n >= 0
	switch {
	case name == "ndots" && number:
		s.Ndots = min(n, 15)
	case name == "timeout" && number:
		s.Client.Timeout = time.Duration(max(1, min(n, 30))) * time.Second
	case name == "attempts" && number:
		s.Attempts = max(1, min(n, 5))
	case name == "rotate":
		s.Rotate = true
	case name == "use-vc":
		s.Client.TCP = true
	case name == "trust-ad":
		s.TrustAD = true
	}
}

// configLines gives the words of each line that has some, without comments.
func configLines(r io.Reader, comment string) func(yield func([]string, error) bool) {
	return func(yield func([]string, error) bool) {
		limited := &io.LimitedReader{R: r, N: maxConfig + 1}
		scanner := bufio.NewScanner(limited)
		scanner.Buffer(nil, maxConfigLine)
		for scanner.Scan() {
			line := scanner.Text()
			if i := strings.IndexAny(line, comment); i >= 0 {
				line = line[:i]
			}
			if words := strings.Fields(line); len(words) > 0 && !yield(words, nil) {
				return
			}
		}
		err := scanner.Err()
		if err == nil && limited.N == 0 {
			err = errors.New("the file is too long")
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// Hosts is what a hosts file says.
type Hosts struct {
	names map[string]*hostLine
	addrs map[netip.Addr]string
}

// A hostLine is what the lines of one name say.
type hostLine struct {
	canonical string // the first name of its first line
	addrs     []netip.Addr
}

// ParseHosts reads the format of hosts(5): an address and its names, the
// canonical one first. Lines that cannot be read are skipped, as the system does.
func ParseHosts(r io.Reader) (*Hosts, error) {
	h := &Hosts{names: make(map[string]*hostLine), addrs: make(map[netip.Addr]string)}
	for line, err := range configLines(r, "#") {
		if err != nil {
			return nil, fmt.Errorf("dnsx: hosts file: %w", err)
		}
		addr, err := netip.ParseAddr(line[0])
		if err != nil {
			continue
		}
		canonical := ""
		for _, word := range line[1:] {
			name, err := foldName(word)
			if err != nil {
				continue
			}
			if canonical == "" {
				canonical = name
			}
			entry := h.names[name]
			if entry == nil {
				entry = &hostLine{canonical: canonical}
				h.names[name] = entry
			}
			if !slices.Contains(entry.addrs, addr) {
				entry.addrs = append(entry.addrs, addr)
			}
		}
		if _, ok := h.addrs[addr.WithZone("")]; !ok && canonical != "" {
			h.addrs[addr.WithZone("")] = canonical
		}
	}
	return h, nil
}

// lookup answers from the file; nil means that it says nothing. The machine
// itself is always known [RFC 6761 section 6.3].
//
// [RFC 6761 section 6.3]: https://www.rfc-editor.org/rfc/rfc6761#section-6.3
func (h *Hosts) lookup(name string, typ Type) *Answer {
	if typ == PTR {
		addr, ok := ReverseAddr(name)
		if !ok || h == nil || h.addrs[addr] == "" {
			return nil
		}
		return &Answer{Name: name, Type: typ, Canonical: name, Records: []Record{{Name: name, Type: PTR, Data: h.addrs[addr]}}}
	}
	if typ != A && typ != AAAA {
		return nil
	}
	var entry *hostLine
	if h != nil {
		entry = h.names[name]
	}
	if entry == nil && InZone(name, "localhost.") {
		entry = &hostLine{canonical: name, addrs: []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}}
	}
	if entry == nil {
		return nil
	}
	a := &Answer{Name: name, Type: typ, Canonical: entry.canonical, Status: NoData}
	if entry.canonical != name {
		a.Records = append(a.Records, Record{Name: name, Type: CNAME, Data: entry.canonical})
	}
	for _, addr := range entry.addrs {
		if addr.Zone() == "" && addr.Is4() == (typ == A) {
			a.Records = append(a.Records, Record{Name: entry.canonical, Type: typ, Data: addr.String()})
			a.Status = OK
		}
	}
	return a
}
