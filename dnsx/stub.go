package dnsx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// A Stub is the resolver that programs usually have: it asks a recursive server
// and believes it. [SystemStub] makes one as this machine is configured.
//
// Unlike the other resolvers it takes names as people write them: one without
// the dot at the end is tried below the names of Search too.
type Stub struct {
	Servers []netip.AddrPort // in the order to ask; port 0 means 53, or 853 with TLS
	Client  Client           // asks; its Timeout is that of one attempt with one server
	Hosts   *Hosts           // is looked at first; nil means that there is none
	Search  []string         // domains to try below
	// Ndots is how many dots a name must have to be tried as it is before
	// those below Search. 0 means 1.
	Ndots int
	// Attempts is how often all servers are asked. 0 means 2.
	Attempts int
	// Rotate begins with any of the servers.
	Rotate bool
	// TrustAD believes the servers, and the way to them, when they say that
	// an answer is authenticated.
	TrustAD bool
}

// Candidates returns the absolute names that a name may stand for, in the order
// in which Resolve tries them. A name with a dot at the end is absolute already.
func (s *Stub) Candidates(name string) ([]string, error) {
	absolute, err := foldName(name)
	if err != nil {
		return nil, err
	}
	if strings.HasSuffix(name, ".") || len(s.Search) == 0 {
		return []string{absolute}, nil
	}
	var list []string
	for _, domain := range s.Search {
		prefix := absolute
		if domain != "." && domain != "" {
			prefix += domain
		}
		// One that becomes too long is no candidate.
		if below, err := foldName(prefix); err == nil && !slices.Contains(list, below) && below != absolute {
			list = append(list, below)
		}
	}
	if dns.CountLabel(absolute)-1 >= max(1, s.Ndots) {
		return append([]string{absolute}, list...), nil
	}
	return append(list, absolute), nil
}

// Resolve looks into the hosts file and asks the servers, for each of
// [Stub.Candidates], until there are records of the type. When there are none
// the answer is that for the name as it is.
func (s *Stub) Resolve(ctx context.Context, name string, typ Type) (*Answer, error) {
	candidates, err := s.Candidates(name)
	if err != nil {
		return nil, err
	}
	absolute, _ := foldName(name) // Candidates has checked it
	var negative *Answer
	var failure error
	for _, candidate := range candidates {
		a := s.Hosts.lookup(candidate, typ)
		if a == nil {
			a, err = s.ask(ctx, candidate, typ)
		}
		switch {
		case ctx.Err() != nil:
			return nil, &Error{Name: candidate, Type: typ, Err: context.Cause(ctx)}
		case err != nil:
			failure = err
		case a.Status == OK:
			return a, nil
		case negative == nil || candidate == absolute:
			negative = a
		}
	}
	if failure != nil {
		return nil, failure // nobody knows what the one who is silent would have said
	}
	return negative, nil
}

// ask asks the servers for one absolute name.
func (s *Stub) ask(ctx context.Context, name string, typ Type) (*Answer, error) {
	if len(s.Servers) == 0 {
		return nil, &Error{Name: name, Type: typ, Err: temporary(errors.New("no server is known"))}
	}
	attempts := s.Attempts
	if attempts <= 0 {
		attempts = 2
	}
	first := 0
	if s.Rotate {
		first = rand.IntN(len(s.Servers))
	}
	var last error
	for range attempts {
		for i := range s.Servers {
			server := s.Servers[(first+i)%len(s.Servers)]
			a, err := s.askServer(ctx, server, name, typ)
			if err == nil {
				return a, nil
			}
			last = &Error{Name: name, Type: typ, Server: server, Err: err}
			if ctx.Err() != nil || !errors.Is(err, ErrTemporary) {
				return nil, last
			}
		}
	}
	return nil, last
}

// askServer asks one server and reads its response.
func (s *Stub) askServer(ctx context.Context, server netip.AddrPort, name string, typ Type) (*Answer, error) {
	m, err := s.query(ctx, server, name, typ, true)
	if err == nil && noEDNS(m) {
		m, err = s.query(ctx, server, name, typ, false)
	}
	if err != nil {
		return nil, err
	}
	return s.read(m, name, typ)
}

// query sends one question.
func (s *Stub) query(ctx context.Context, server netip.AddrPort, name string, typ Type, edns bool) (*dns.Msg, error) {
	query, err := appendQuery(nil, name, typ, true, edns, s.Client.udpSize())
	if err != nil {
		return nil, err
	}
	if s.TrustAD {
		query[3] |= 0x20 // AD: I want to know [RFC 6840 section 5.7]
	}
	wire, err := s.Client.roundTrip(ctx, server, query, 0)
	if err != nil {
		return nil, err
	}
	m, err := unpack(wire)
	if err != nil {
		return nil, temporary(err)
	}
	return m, nil
}

// noEDNS reports whether a server refuses a query for its OPT record.
func noEDNS(m *dns.Msg) bool {
	return m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented || m.Rcode == dns.RcodeBadVers
}

// read makes an answer of a response.
func (s *Stub) read(m *dns.Msg, name string, typ Type) (*Answer, error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, temporary(fmt.Errorf("the server says %v", Rcode(m.Rcode)))
	}
	c := &chain{end: name}
	if err := c.extend(m.Answer, typ, "."); err != nil {
		return nil, err
	}
	a := &Answer{
		Name: name, Type: typ, Records: c.records, Canonical: c.end,
		Authoritative: m.Authoritative, Authenticated: s.TrustAD && m.AuthenticatedData,
	}
	if c.found {
		return a, nil
	}
	a.SOA = soaOf(m.Ns, c.end, ".")
	a.Status = NoData
	if m.Rcode == dns.RcodeNameError {
		a.Status = NXDomain
	} else if a.SOA == nil && !m.RecursionAvailable {
		// A referral, or an alias that was not followed: it does not mean that
		// there is nothing.
		return nil, temporary(errors.New("the server does not look for answers that it does not have"))
	}
	return a, nil
}
