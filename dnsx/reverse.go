package dnsx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// A PeerName is a name that the owner of an address has given it. Whoever runs
// the reverse zone can write any name there, so that it proves nothing until it
// is confirmed: the name must lead back to the address.
type PeerName struct {
	Name      string // absolute
	Confirmed bool   // an address of Name is the one asked about
	Err       error  // why that is not known, if its lookup failed for now
}

// A Reverse is what the DNS says about the names of an address.
type Reverse struct {
	Addr   netip.Addr // as asked, but not mapped and without a zone
	Status Status     // OK if there are names
	Names  []PeerName // at most 100 are looked up
}

// LookupAddr finds the names of an address by its PTR records and asks for the
// addresses of each: the check that mail servers call iprev [RFC 8601 section
// 3]. As there, one confirmed name is enough. If none is and some lookup failed
// for now, the error is temporary, and what is known comes with it.
//
// An IPv4-mapped address counts as IPv4.
//
// [RFC 8601 section 3]: https://www.rfc-editor.org/rfc/rfc8601#section-3
func LookupAddr(ctx context.Context, r Resolver, addr netip.Addr) (*Reverse, error) {
	addr = addr.Unmap().WithZone("")
	question := ReverseName(addr)
	if question == "" {
		return nil, fmt.Errorf("dnsx: no address: %w", ErrName)
	}
	answer, err := r.Resolve(ctx, question, PTR)
	if err != nil {
		return nil, err
	}
	reverse := &Reverse{Addr: addr, Status: answer.Status}
	for _, record := range answer.Records {
		if record.Type == PTR {
			reverse.Names = append(reverse.Names, PeerName{Name: record.Data})
		}
	}
	typ := A
	if addr.Is6() {
		typ = AAAA
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxLookups)
	for i := range reverse.Names {
		name := &reverse.Names[i]
		if i >= maxHosts {
			name.Err = fmt.Errorf("more than %d names: %w", maxHosts, errors.Join(ErrLimit, ErrTemporary))
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			var addrs []netip.Addr
			addrs, _, name.Err = addressesOf(ctx, r, name.Name, typ)
			name.Confirmed = slices.Contains(addrs, addr)
			<-slots
		})
	}
	wg.Wait()
	var errs []error
	for _, name := range reverse.Names {
		if name.Confirmed {
			return reverse, nil
		}
		errs = append(errs, name.Err)
	}
	return reverse, errors.Join(errs...)
}
