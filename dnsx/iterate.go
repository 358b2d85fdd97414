package dnsx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// A NameServer is a server of a zone: its name, and those of its addresses that
// are known.
type NameServer struct {
	Name  string       // absolute
	Addrs []netip.Addr // empty when none is known
}

// An Iterative resolves names by asking the root and following referrals, as
// [RFC 1034 section 5.3.3] tells. Set Roots, see [ParseHints], before use; the
// rest may stay as it is.
//
// It remembers referrals until their TTL ends, and how fast the servers are,
// not answers: put it into a [Cache] for that.
//
// [RFC 1034 section 5.3.3]: https://www.rfc-editor.org/rfc/rfc1034#section-5.3.3
type Iterative struct {
	Roots  []NameServer // where to begin
	Port   uint16       // of all servers; 0 means 53
	Client Client       // asks each question; its Timeout does not matter here

	// MaxQueries is how many queries one resolution may send, those for
	// addresses of name servers included. 0 means 100.
	MaxQueries int
	// Timeout is how long one resolution may take. 0 means 8 s.
	Timeout time.Duration

	memory infrastructure
}

const (
	// maxDepth is how deep searches for name servers' addresses may nest.
	maxDepth = 6
	// maxSearches is for how many servers of a zone addresses are searched
	// that did not come with the referral. A hostile zone may name hundreds, on
	// somebody else's servers (NXNSAttack).
	maxSearches = 4
	// maxTargets is how many addresses of one zone's servers are asked. They may
	// all be those of a victim.
	maxTargets = 16
	// rounds is how often a silent server is asked, each time waiting longer.
	rounds = 3
	// maxHints is how many records a root hints file may have.
	maxHints = 1000
)

// Why a server's response is of no use.
var (
	errLame     = errors.New("the server does not have the zone")
	errNoServer = errors.New("no name server has a known address")
	errCircle   = errors.New("the servers' names can be resolved only by themselves")
)

// ParseHints reads a root hints file: a zone file with the NS records of the
// root and the addresses of the servers, as https://www.internic.net/domain/named.root is.
func ParseHints(r io.Reader) ([]NameServer, error) {
	var servers []NameServer
	addrs := make(map[string][]netip.Addr)
	parser := dns.NewZoneParser(io.LimitReader(r, 1<<20), ".", "hints")
	parser.SetDefaultTTL(3600)
	records := 0
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if records++; records > maxHints {
			return nil, fmt.Errorf("dnsx: root hints: more than %d records", maxHints)
		}
		record := fromRR(rr)
		name := dns.CanonicalName(record.Name)
		switch record.Type {
		case NS:
			if name == "." {
				servers = append(servers, NameServer{Name: dns.CanonicalName(record.Data)})
			}
		case A, AAAA:
			if addr, err := netip.ParseAddr(record.Data); err == nil {
				addrs[name] = append(addrs[name], addr)
			}
		}
	}
	if err := parser.Err(); err != nil {
		return nil, fmt.Errorf("dnsx: root %w", err)
	}
	known := 0
	for i := range servers {
		servers[i].Addrs = addrs[servers[i].Name]
		known += len(servers[i].Addrs)
	}
	if known == 0 {
		return nil, errors.New("dnsx: root hints: no name server of the root with an address")
	}
	return servers, nil
}

// Resolve finds the answer. The name is taken as absolute.
func (r *Iterative) Resolve(ctx context.Context, name string, typ Type) (*Answer, error) {
	folded, err := foldName(name)
	if err != nil {
		return nil, err
	}
	if typ == AXFR || typ == Type(dns.TypeIXFR) || typ == Type(dns.TypeOPT) {
		return nil, &Error{Name: folded, Type: typ, Err: temporary(fmt.Errorf("a question of type %v is not for resolvers", typ))}
	}
	timeout := r.Timeout
	if timeout <= 0 {
		timeout = 8 * time.Second
	}
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w: %v", ErrLimit, timeout))
	defer cancel()
	s := &search{r: r, left: r.MaxQueries}
	if s.left <= 0 {
		s.left = 100
	}
	answer, err := s.resolve(limited, folded, typ)
	if err == nil {
		return answer, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	} else {
		if limited.Err() != nil {
			err = context.Cause(limited)
		}
		err = temporary(err)
	}
	return nil, &Error{Name: folded, Type: typ, Err: err}
}

// A search is one resolution at work, with the searches for name servers'
// addresses that it needs on its way.
type search struct {
	r     *Iterative
	left  int      // queries that may still be sent
	zones []string // whose servers' addresses are being searched, the innermost last
}

// final reports whether an error ends the whole search, and not only the
// attempt with one server.
func final(ctx context.Context, err error) bool {
	return errors.Is(err, ErrLimit) || errors.Is(err, ErrLoop) || ctx.Err() != nil
}

// A verdict is what a server's response means.
type verdict struct {
	outcome Outcome
	child   *zoneCut // of a referral
	soa     *Record  // of a negative answer
	err     error    // why the response is of no use
}

// resolve follows the aliases from name to the answer.
func (s *search) resolve(ctx context.Context, name string, typ Type) (*Answer, error) {
	c := &chain{end: name}
	for {
		v, err := s.descend(ctx, c, typ)
		if err != nil {
			return nil, err
		}
		if v.outcome == OutcomeAlias {
			continue // from the known zone that is closest to where it leads
		}
		a := &Answer{Name: name, Type: typ, Records: c.records, SOA: v.soa, Canonical: c.end, Authoritative: true}
		switch v.outcome {
		case OutcomeNoData:
			a.Status = NoData
		case OutcomeNXDomain:
			a.Status = NXDomain
		}
		return a, nil
	}
}

// descend follows referrals from the closest known zone, until a server says
// something about the name at the end of c.
func (s *search) descend(ctx context.Context, c *chain, typ Type) (verdict, error) {
	cut := s.r.closest(c.end, typ)
	known := true // cut was remembered: the zone may have moved since
	for {
		v, err := s.askZone(ctx, cut, c, typ)
		switch {
		case err != nil && known && cut.zone != "." && !final(ctx, err):
			s.r.memory.forget(cut)
			cut = s.r.closest(c.end, typ)
		case err != nil:
			return v, err
		case v.outcome != OutcomeReferral:
			return v, nil
		default:
			s.r.memory.learn(v.child)
			cut, known = v.child, false
		}
	}
}

// A target is one address of one server.
type target struct {
	name string
	addr netip.AddrPort
}

// askZone asks the servers of a zone until one has a useful response: first
// those whose address is known, the fastest first; then others, whose address must be
// searched; then the silent ones again, with more patience.
func (s *search) askZone(ctx context.Context, cut *zoneCut, c *chain, typ Type) (verdict, error) {
	var silent []target
	var last error = errNoServer
	ask := func(targets []target, round int) (v verdict, done bool) {
		for _, t := range targets {
			v = s.ask(ctx, cut, t, c, typ, round)
			if v.err == nil || final(ctx, v.err) {
				return v, true
			}
			last = fmt.Errorf("%s (%v): %w", t.name, t.addr, v.err)
			if v.outcome == OutcomeSilent && !s.r.memory.isDown(t.addr.Addr()) {
				silent = append(silent, t)
			}
		}
		return v, false
	}

	var known []target
	var unknown []string
	for _, server := range cut.servers {
		if len(server.Addrs) == 0 {
			unknown = append(unknown, server.Name)
		}
		known = append(known, s.r.targets(server)...)
	}
	s.r.memory.order(known)
	left := maxTargets
	first := func(targets []target) (verdict, bool) {
		targets = targets[:min(len(targets), left)]
		left -= len(targets)
		return ask(targets, 0)
	}
	if v, done := first(known); done {
		return v, v.err
	}
	rand.Shuffle(len(unknown), func(i, j int) { unknown[i], unknown[j] = unknown[j], unknown[i] })
	for i, name := range unknown {
		if i == maxSearches {
			last = fmt.Errorf("%w: the addresses of %d servers of %s have been searched", ErrLimit, i, cut.zone)
			break
		}
		addrs, err := s.addresses(ctx, cut, name)
		if err != nil {
			if final(ctx, err) && !errors.Is(err, ErrLoop) { // a loop is of that server's name only
				return verdict{}, err
			}
			last = fmt.Errorf("%s: %v", name, err)
			continue
		}
		if v, done := first(s.r.targets(NameServer{Name: name, Addrs: addrs})); done {
			return v, v.err
		}
	}
	for round := 1; round < rounds && len(silent) > 0; round++ {
		again := silent
		silent = nil
		if v, done := ask(again, round); done {
			return v, v.err
		}
	}
	return verdict{}, temporary(fmt.Errorf("no server of %s helps: %w", cut.zone, last))
}

// addresses searches the addresses of a server whose referral came without.
func (s *search) addresses(ctx context.Context, cut *zoneCut, name string) ([]netip.Addr, error) {
	if addrs, ok := s.r.memory.host(name); ok {
		return addrs, nil
	}
	if InZone(name, cut.zone) || slices.Contains(s.zones, cut.zone) {
		return nil, temporary(errCircle)
	}
	if len(s.zones) == maxDepth {
		return nil, temporary(fmt.Errorf("%w: name servers' names that need %d searches, one within the other", ErrLimit, maxDepth))
	}
	s.zones = append(s.zones, cut.zone)
	defer func() { s.zones = s.zones[:len(s.zones)-1] }()
	var addrs []netip.Addr
	for _, typ := range []Type{A, AAAA} {
		a, err := s.resolve(ctx, name, typ)
		if err != nil {
			return nil, err
		}
		ttl := time.Duration(0)
		for _, r := range a.Records {
			if addr, err := netip.ParseAddr(r.Data); err == nil && r.Type == typ && len(addrs) < maxAddrs {
				addrs, ttl = append(addrs, addr), r.TTL
			}
		}
		if len(addrs) > 0 {
			s.r.memory.learnHost(name, addrs, ttl)
			break
		}
		if a.Status == NXDomain {
			break
		}
	}
	return addrs, nil
}

// ask asks one server and judges its response.
func (s *search) ask(ctx context.Context, cut *zoneCut, t target, c *chain, typ Type, round int) verdict {
	step := Step{
		Depth: len(s.zones), Zone: cut.zone, Server: t.name, Addr: t.addr,
		Name: c.end, Type: typ, Start: time.Now(),
	}
	had := len(c.records)
	response, err := s.query(ctx, t.addr, c.end, typ, round)
	var v verdict
	if err != nil {
		v = verdict{outcome: OutcomeFailed, err: err}
		if errors.Is(err, errTimeout) {
			v.outcome = OutcomeSilent
		}
	} else {
		v = cut.judge(response, c, typ)
	}
	if errors.Is(err, ErrLimit) {
		return v // nobody was asked
	}
	step.Took, step.Outcome, step.Err = time.Since(step.Start), v.outcome, v.err
	switch v.outcome {
	case OutcomeReferral:
		step.Next, step.Records = v.child.zone, v.child.records
	case OutcomeAlias:
		step.Next = c.end
		fallthrough
	default:
		step.Records = c.records[had:]
	}
	s.r.Client.Trace.step(step)
	return v
}

// query sends one question and counts it. A server that cannot do EDNS is asked
// again without [RFC 6891 section 6.2.2]; so are, the last time, those that are
// silent.
//
// [RFC 6891 section 6.2.2]: https://www.rfc-editor.org/rfc/rfc6891#section-6.2.2
func (s *search) query(ctx context.Context, server netip.AddrPort, name string, typ Type, round int) (*dns.Msg, error) {
	timeout, edns := s.r.memory.patience(server.Addr(), round)
	for {
		if s.left == 0 {
			return nil, temporary(fmt.Errorf("%w: too many queries for one answer", ErrLimit))
		}
		s.left--
		query, err := appendQuery(nil, name, typ, false, edns, s.r.Client.udpSize())
		if err != nil {
			return nil, err
		}
		began := time.Now()
		wire, err := s.r.Client.roundTrip(ctx, server, query, timeout)
		if err != nil {
			if ctx.Err() == nil {
				s.r.memory.failed(server.Addr(), errors.Is(err, errTimeout))
			}
			return nil, err
		}
		s.r.memory.answered(server.Addr(), time.Since(began))
		response, err := unpack(wire)
		switch {
		case err != nil:
			return nil, temporary(err)
		case edns && noEDNS(response):
			s.r.memory.plain(server.Addr())
			edns = false
		default:
			return response, nil
		}
	}
}

// judge says what a response means that a server of the zone gave to the
// question for the name at the end of c, and adds to c what is to be believed:
// only what the server has the authority to say.
func (cut *zoneCut) judge(m *dns.Msg, c *chain, typ Type) verdict {
	negative := m.Rcode == dns.RcodeNameError
	if m.Rcode != dns.RcodeSuccess && !negative {
		return verdict{outcome: OutcomeRefused, err: temporary(fmt.Errorf("the server says %v", Rcode(m.Rcode)))}
	}
	if m.Authoritative {
		asked := c.end
		if err := c.extend(m.Answer, typ, cut.zone); err != nil {
			return verdict{outcome: OutcomeAlias, err: err}
		}
		if c.found {
			return verdict{outcome: OutcomeAnswer}
		}
		soa := soaOf(m.Ns, c.end, cut.zone)
		mine := InZone(c.end, cut.zone)
		switch {
		case mine && negative:
			return verdict{outcome: OutcomeNXDomain, soa: soa}
		case mine && soa != nil:
			return verdict{outcome: OutcomeNoData, soa: soa}
		case c.end != asked:
			return verdict{outcome: OutcomeAlias}
		}
	}
	if child := cut.referral(m, c.end); child != nil && !negative {
		return verdict{outcome: OutcomeReferral, child: child}
	}
	if m.Authoritative && !negative {
		return verdict{outcome: OutcomeNoData} // RFC 2308 section 2.2, type 3
	}
	return verdict{outcome: OutcomeLame, err: temporary(errLame)}
}

// referral returns the zone below that a response refers to, nil if there is
// none: it must be below this zone and have name in it. An address is believed
// only for a server of that zone, and only if its name is in this zone, whose
// server speaks; any other address has to be searched.
func (cut *zoneCut) referral(m *dns.Msg, name string) *zoneCut {
	var child *zoneCut
	for _, rr := range m.Ns {
		ns, ok := rr.(*dns.NS)
		if !ok || ns.Hdr.Class != dns.ClassINET {
			continue
		}
		zone := dns.CanonicalName(ns.Hdr.Name)
		if !InZone(zone, cut.zone) || zone == cut.zone || !InZone(name, zone) {
			continue
		}
		if child == nil {
			child = &zoneCut{zone: zone, ttl: duration(ns.Hdr.Ttl)}
		}
		server := dns.CanonicalName(ns.Ns)
		if zone != child.zone || len(child.servers) == maxServers || child.server(server) != nil {
			continue
		}
		child.ttl = min(child.ttl, duration(ns.Hdr.Ttl))
		child.servers = append(child.servers, NameServer{Name: server})
		child.records = append(child.records, fromRR(ns))
	}
	if child == nil {
		return nil
	}
	for _, rr := range m.Extra {
		owner := dns.CanonicalName(rr.Header().Name)
		server := child.server(owner)
		if server == nil || rr.Header().Class != dns.ClassINET || !InZone(owner, cut.zone) || len(server.Addrs) == maxAddrs {
			continue
		}
		switch rr := rr.(type) {
		case *dns.A:
			if addr, ok := netip.AddrFromSlice(rr.A); ok {
				server.Addrs = append(server.Addrs, addr.Unmap())
			}
		case *dns.AAAA:
			if addr, ok := netip.AddrFromSlice(rr.AAAA); ok {
				server.Addrs = append(server.Addrs, addr)
			}
		}
	}
	return child
}
