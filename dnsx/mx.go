package dnsx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A MailReason says why mail for a domain can never be delivered.
type MailReason string

// The permanent reasons.
const (
	NullMX       MailReason = "null-mx"        // the domain says that it takes no mail (RFC 7505)
	NoSuchDomain MailReason = "no-such-domain" // the name, or the one it is an alias of, does not exist
	NoMailHost   MailReason = "no-mail-host"   // neither mail exchangers nor an address
	NoUsableHost MailReason = "no-usable-host" // exchangers, but none with an address
	MailLoop     MailReason = "loop"           // we are the best exchanger: mail would come back to us
	BadName      MailReason = "bad-name"       // not a domain or an address literal
)

// A MailHost is one host that takes mail for a domain.
type MailHost struct {
	Name       string       // absolute, in lower case; of an address literal the literal itself
	Preference uint16       // smaller is tried earlier; 0 if no MX record names the host
	Addresses  []netip.Addr // all of them, IPv6 first

	// Err is why Addresses is empty, or may be incomplete: a lookup that
	// failed for now, or a rule of [MailHosts].
	Err error

	aliases []string // other names of the host
}

// A MailRoute is where mail for a domain goes.
type MailRoute struct {
	Domain    string     // as asked; a name is absolute and in lower case
	Canonical string     // what Domain is an alias of, or Domain itself
	Implicit  bool       // there is no MX record: the domain is its own exchanger
	Hosts     []MailHost // in the order to try, each with at least one address
	Skipped   []MailHost // the exchangers that are not to be tried, each with its Err
}

// A MailError says that mail for a domain has nowhere to go, for ever or for
// now. Temporary ones, and only they, match [ErrTemporary].
type MailError struct {
	Domain string     // as in [MailRoute.Domain]
	Reason MailReason // empty if the failure is temporary
	Err    error      // what failed, if a lookup or the name did
}

// Temporary reports whether to try again later instead of giving the message
// back to its sender.
func (e *MailError) Temporary() bool { return e.Reason == "" }

// Error describes the failure in one line.
func (e *MailError) Error() string {
	reason := string(e.Reason)
	if e.Temporary() {
		reason = "try again later"
	}
	if e.Err != nil {
		return fmt.Sprintf("dnsx: mail for %q: %s: %v", e.Domain, reason, e.Err)
	}
	return fmt.Sprintf("dnsx: mail for %q: %s", e.Domain, reason)
}

// Unwrap returns the causes.
func (e *MailError) Unwrap() []error {
	var causes []error
	if e.Temporary() {
		causes = append(causes, ErrTemporary)
	}
	if e.Err != nil {
		causes = append(causes, e.Err)
	}
	return causes
}

// maxHosts bounds how many names of one answer are looked up further. A single
// message could name thousands.
const maxHosts = 100

// maxLookups is how many names of one answer are looked up at a time.
const maxLookups = 8

// Rules for which an exchanger is skipped.
var (
	errNoAddress = errors.New("has no address")
	errIsAddress = errors.New("an address stands where a name must")
	errIsRoot    = errors.New("a null MX beside other records counts for nothing")
	errIsUs      = errors.New("it is this host, or no better than this host")
	errTooMany   = fmt.Errorf("more than %d exchangers: %w", maxHosts, errors.Join(ErrLimit, ErrTemporary))
)

// MailHosts finds the hosts to which a mail program gives messages for domain,
// in the order to try them [RFC 5321 section 5.1]. The domain is what stands
// after the @ of an address: a name, which may be internationalised, or an
// address literal such as "[192.0.2.1]" or "[IPv6:2001:db8::1]". The names and
// addresses in local are our own: we never send to ourselves, nor to a host that
// is no better than we are.
//
// The route is never nil, even if there are no hosts in it and the error, a
// [*MailError], says why; but a wrong local gives an error that matches
// [ErrName], and no route. Where mailers differ, this one does as follows.
//   - Without MX records the domain itself, or the name it is an alias of, is
//     the only exchanger. A failed lookup never means that there are none.
//   - "MX 0 ." alone refuses mail [RFC 7505]; beside other records it is dropped.
//   - Of equal preferences the order is random, anew in every call.
//   - A host that is named twice keeps the better preference.
//   - An exchanger that is an IP address is refused; one that is an alias is
//     followed, although it must not be one.
//   - If no exchanger has an address, the failure is permanent unless some
//     lookup failed for now.
//   - If we are the best, or among the best, that is a loop: permanent. So it is
//     if no better one has an address, unless some lookup failed for now.
//   - At most the 100 best exchangers are looked at.
//
// [RFC 5321 section 5.1]: https://www.rfc-editor.org/rfc/rfc5321#section-5.1
// [RFC 7505]: https://www.rfc-editor.org/rfc/rfc7505
func MailHosts(ctx context.Context, r Resolver, domain string, local ...string) (*MailRoute, error) {
	us, err := parseLocal(local)
	if err != nil {
		return nil, err
	}
	route := &MailRoute{Domain: domain, Canonical: domain}
	if strings.HasPrefix(domain, "[") {
		addr, err := addressLiteral(domain)
		if err != nil {
			return route.fail(BadName, err)
		}
		host := MailHost{Name: domain, Addresses: []netip.Addr{addr}}
		return route.choose([]MailHost{host}, us, MailLoop)
	}
	name, err := mailName(domain)
	if err != nil {
		return route.fail(BadName, err)
	}
	route.Domain, route.Canonical = name, name

	mx, err := r.Resolve(ctx, name, MX)
	if errors.Is(err, ErrName) {
		return route.fail(BadName, err)
	}
	if err != nil {
		return route.fail("", err)
	}
	route.Canonical = strings.ToLower(mx.Canonical)
	switch mx.Status {
	case NXDomain:
		return route.fail(NoSuchDomain, nil)
	case NoData:
		route.Implicit = true
		return route.resolve(ctx, r, []MailHost{{Name: route.Canonical, aliases: aliasesIn(mx)}}, us, NoMailHost)
	}
	hosts, err := exchangers(mx.Records)
	if err != nil {
		return route.fail("", err)
	}
	if len(hosts) == 1 && hosts[0].Name == "." && hosts[0].Preference == 0 {
		return route.fail(NullMX, nil)
	}
	return route.resolve(ctx, r, hosts, us, NoUsableHost)
}

// fail returns the route with an error. An empty reason means for now.
func (route *MailRoute) fail(reason MailReason, err error) (*MailRoute, error) {
	return route, &MailError{Domain: route.Domain, Reason: reason, Err: err}
}

// resolve looks up the addresses of hosts, which are in the order to try, and
// chooses among them. None is the reason if none has an address.
func (route *MailRoute) resolve(ctx context.Context, r Resolver, hosts []MailHost, us locals, none MailReason) (*MailRoute, error) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxLookups)
	for i := range hosts {
		host := &hosts[i]
		if us.named(host.Name) {
			break // neither this one nor those after it will be tried
		}
		if host.Name == "." {
			host.Err = errIsRoot
			continue
		}
		if _, err := netip.ParseAddr(strings.TrimSuffix(host.Name, ".")); err == nil {
			host.Err = errIsAddress
			continue
		}
		if i >= maxHosts {
			host.Err = errTooMany
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			host.lookup(ctx, r)
			<-slots
		})
	}
	wg.Wait()
	return route.choose(hosts, us, none)
}

// choose puts each of hosts, whose addresses are known, among those to be tried
// or those to be skipped.
func (route *MailRoute) choose(hosts []MailHost, us locals, none MailReason) (*MailRoute, error) {
	best := len(hosts) // from here on they are no better than we are
	if i := slices.IndexFunc(hosts, us.is); i >= 0 {
		best = slices.IndexFunc(hosts, func(h MailHost) bool { return h.Preference == hosts[i].Preference })
		none = MailLoop
	}
	var later []error
	for i, host := range hosts {
		switch {
		case i >= best:
			host.Addresses, host.Err = nil, errIsUs
			route.Skipped = append(route.Skipped, host)
		case len(host.Addresses) > 0:
			route.Hosts = append(route.Hosts, host)
		default:
			if !slices.Contains([]error{errIsRoot, errIsAddress, errNoAddress}, host.Err) {
				later = append(later, host.Err)
			}
			route.Skipped = append(route.Skipped, host)
		}
	}
	switch {
	case len(route.Hosts) > 0:
		return route, nil
	case len(later) > 0:
		return route.fail("", errors.Join(later...))
	}
	return route.fail(none, nil)
}

// exchangers returns the hosts of MX records, each once, in an order to try.
func exchangers(records []Record) ([]MailHost, error) {
	var hosts []MailHost
	for _, record := range records {
		if record.Type != MX {
			continue // of the alias chain
		}
		preference, name, ok := strings.Cut(record.Data, " ")
		n, err := strconv.ParseUint(preference, 10, 16)
		if !ok || err != nil {
			return nil, fmt.Errorf("dnsx: %q is not the data of an MX record: %w", record.Data, ErrTemporary)
		}
		hosts = append(hosts, MailHost{Name: strings.ToLower(name), Preference: uint16(n)})
	}
	// What is equal stays in the order of the shuffle: the sort is stable.
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	slices.SortStableFunc(hosts, func(a, b MailHost) int { return cmp.Compare(a.Preference, b.Preference) })
	seen := make(map[string]bool)
	return slices.DeleteFunc(hosts, func(h MailHost) bool {
		again := seen[h.Name]
		seen[h.Name] = true
		return again
	}), nil
}

// lookup looks up all addresses of a host. Err becomes errNoAddress if there are
// none, and the failure of a lookup that failed for now.
func (h *MailHost) lookup(ctx context.Context, r Resolver) {
	var found [2][]netip.Addr
	var answers [2]*Answer
	var errs [2]error
	var wg sync.WaitGroup
	for i, typ := range [2]Type{AAAA, A} {
		wg.Go(func() { found[i], answers[i], errs[i] = addressesOf(ctx, r, h.Name, typ) })
	}
	wg.Wait()
	h.Addresses, h.Err = slices.Concat(found[0], found[1]), errors.Join(errs[:]...)
	if len(h.Addresses) == 0 && h.Err == nil {
		h.Err = errNoAddress
	}
	for _, answer := range answers {
		if answer != nil {
			h.aliases = append(h.aliases, aliasesIn(answer)...)
		}
	}
}

// aliasesIn returns the names in an alias chain.
func aliasesIn(answer *Answer) (names []string) {
	for _, record := range answer.Records {
		if record.Type == CNAME {
			names = append(names, strings.ToLower(record.Name), strings.ToLower(record.Data))
		}
	}
	return names
}

// addressesOf looks up the addresses of one family: typ is A or AAAA. Of a name
// that the DNS cannot hold there are none, and that is no error.
func addressesOf(ctx context.Context, r Resolver, name string, typ Type) ([]netip.Addr, *Answer, error) {
	answer, err := r.Resolve(ctx, name, typ)
	if errors.Is(err, ErrName) {
		return nil, &Answer{Name: name, Type: typ, Status: NXDomain, Canonical: name}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var addrs []netip.Addr
	for _, record := range answer.Records {
		addr, err := netip.ParseAddr(record.Data)
		if record.Type == typ && err == nil && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	return addrs, answer, nil
}

// addressLiteral returns the address in a literal [RFC 5321 section 4.1.3].
//
// [RFC 5321 section 4.1.3]: https://www.rfc-editor.org/rfc/rfc5321#section-4.1.3
func addressLiteral(domain string) (netip.Addr, error) {
	const tag = "IPv6:"
	inner, ok := strings.CutSuffix(domain[1:], "]")
	if !ok {
		return netip.Addr{}, fmt.Errorf("%w: %q has no ] at its end", ErrName, domain)
	}
	six := len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag)
	if six {
		inner = inner[len(tag):]
	}
	addr, err := netip.ParseAddr(inner)
	if err != nil || addr.Is4() == six || addr.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%w: %q is neither [a.b.c.d] nor [IPv6:…]", ErrName, domain)
	}
	return addr, nil
}

// mailName returns a domain as an absolute name, if mail addresses may have it:
// letters, digits and hyphens [RFC 5321 section 4.1.2], and no IPv4 address.
//
// [RFC 5321 section 4.1.2]: https://www.rfc-editor.org/rfc/rfc5321#section-4.1.2
func mailName(domain string) (string, error) {
	name, err := foldName(domain)
	if err != nil {
		return "", err
	}
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, label := range labels {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notLDH) {
			return "", fmt.Errorf("%w: %q has other characters than letters, digits and inner hyphens", ErrName, domain)
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return "", fmt.Errorf("%w: %q ends in a number; an address stands between brackets", ErrName, domain)
	}
	return name, nil
}

// notLDH reports whether r is none of letters, digits and hyphen; a name is in
// lower case already.
func notLDH(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-')
}

// locals are the names and the addresses under which others know us.
type locals struct {
	names []string
	addrs []netip.Addr
}

func parseLocal(local []string) (locals, error) {
	var us locals
	for _, text := range local {
		addr, err := netip.ParseAddr(text)
		if strings.HasPrefix(text, "[") {
			addr, err = addressLiteral(text)
		}
		if err == nil {
			us.addrs = append(us.addrs, addr.Unmap())
			continue
		}
		name, err := mailName(text)
		if err != nil {
			return us, fmt.Errorf("dnsx: local host %q: %w", text, err)
		}
		us.names = append(us.names, name)
	}
	return us, nil
}

// named reports whether that is one of our names.
func (us locals) named(name string) bool { return slices.Contains(us.names, name) }

// is reports whether h is us, by one of its names or one of its addresses.
func (us locals) is(h MailHost) bool {
	return us.named(h.Name) || slices.ContainsFunc(h.aliases, us.named) || slices.ContainsFunc(h.Addresses, func(a netip.Addr) bool {
		return slices.Contains(us.addrs, a.Unmap())
	})
}
