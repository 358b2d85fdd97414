package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
)

// question is what the commands that ask have in common.
type question struct {
	json  bool
	limit *time.Duration
	names *names.Flags
}

func questionFlags(fs *flag.FlagSet) *question {
	q := &question{}
	fs.BoolVar(&q.json, "json", false, "print JSON, for programs")
	q.limit = cli.Number(fs, "timeout", time.Minute, time.Millisecond, time.Hour, "take at most so much `time`")
	q.names = names.AddFlags(fs, "port")
	return q
}

// ask opens the name service and gives it to f with a context that ends in time.
func (q *question) ask(ctx context.Context, f func(context.Context, *names.Service) error) error {
	service, err := q.names.Open()
	if err != nil {
		return err
	}
	defer service.Close()
	ctx, cancel := context.WithTimeout(ctx, *q.limit)
	defer cancel()
	return f(ctx, service)
}

// print prints what was found: as JSON, or as text. A temporary failure is a
// result in JSON, and in text an error.
func (q *question) print(ctx context.Context, env *cli.Env, result any, text string, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Cause(ctx) // Ctrl-C
	}
	if q.json {
		return json.NewEncoder(env.Stdout).Encode(result)
	}
	if _, err := fmt.Fprint(env.Stdout, text); err != nil {
		return err
	}
	return err
}

// A record is one of dnsx, for JSON.
type record struct {
	Name string `json:"name"`
	Type string `json:"type"`
	TTL  int64  `json:"ttl"`
	Data string `json:"data"`
}

// An outcome is what the commands other than mx say about a question.
type outcome struct {
	Status  string   `json:"status"`           // ok, nodata, nxdomain or temporary
	Reason  string   `json:"reason,omitempty"` // of a temporary failure
	Records []record `json:"records"`
}

func outcomeOf(answer *dnsx.Answer, err error) outcome {
	if err != nil {
		return outcome{Status: "temporary", Reason: err.Error(), Records: []record{}}
	}
	o := outcome{Status: answer.Status.String(), Records: []record{}}
	for _, r := range answer.Records {
		o.Records = append(o.Records, record{r.Name, r.Type.String(), int64(r.TTL / time.Second), r.Data})
	}
	return o
}

// lines tells an answer as lines of a zone file.
func lines(answer *dnsx.Answer) string {
	var b strings.Builder
	for _, r := range answer.Records {
		fmt.Fprintln(&b, r)
	}
	if answer.Status != dnsx.OK {
		fmt.Fprintf(&b, "%s %s: %s\n", answer.Canonical, answer.Type, answer.Status)
	}
	return b.String()
}

// A pair is a name and a type to ask for.
type pair struct {
	name string
	typ  dnsx.Type
}

// pairs reads arguments NAME TYPE.
func pairs(args []string) ([]pair, error) {
	if len(args) == 0 || len(args)%2 != 0 {
		return nil, cli.Usagef("after each name its type must follow, such as: www.example.com A")
	}
	var list []pair
	for i := 0; i < len(args); i += 2 {
		name, err := dnsx.ParseName(args[i])
		if err != nil {
			return nil, cli.Usagef("%q is not a domain name", args[i])
		}
		typ, err := dnsx.ParseType(args[i+1])
		if err != nil {
			return nil, cli.Usagef("%q is not a type of records; A, AAAA, MX, NS, SOA and TXT are some", args[i+1])
		}
		list = append(list, pair{name, typ})
	}
	return list, nil
}

func resolve(fs *flag.FlagSet) cli.Action {
	q := questionFlags(fs)
	return func(ctx context.Context, env *cli.Env) error {
		list, err := pairs(env.Args)
		if err != nil {
			return err
		}
		return q.ask(ctx, func(ctx context.Context, service *names.Service) error {
			resolver := service.Resolver(nil)
			defer resolver.Close()
			outcomes := []outcome{}
			var text strings.Builder
			var errs []error
			for _, p := range list {
				answer, err := resolver.Resolve(ctx, p.name, p.typ)
				outcomes = append(outcomes, outcomeOf(answer, err))
				if err != nil {
					errs = append(errs, err)
				} else {
					text.WriteString(lines(answer))
				}
			}
			return q.print(ctx, env, outcomes, text.String(), errors.Join(errs...))
		})
	}
}

// A step is a server that was asked, for JSON.
type step struct {
	Zone   string `json:"zone"`
	Server string `json:"server"`
}

func trace(fs *flag.FlagSet) cli.Action {
	q := questionFlags(fs)
	return func(ctx context.Context, env *cli.Env) error {
		list, err := pairs(env.Args)
		if err != nil {
			return err
		}
		if len(list) != 1 {
			return cli.Usagef("one name and one type, not %d", len(list))
		}
		return q.ask(ctx, func(ctx context.Context, service *names.Service) error {
			var mu sync.Mutex // servers' addresses may be looked for side by side
			steps := []step{}
			var text strings.Builder
			resolver, err := service.Iterative(&dnsx.Trace{Step: func(s dnsx.Step) {
				mu.Lock()
				defer mu.Unlock()
				if s.Depth == 0 {
					steps = append(steps, step{s.Zone, s.Addr.Addr().String()})
				}
				text.WriteString(tell(s))
			}})
			if err != nil {
				return cli.Usagef("%v", err)
			}
			answer, err := resolver.Resolve(ctx, list[0].name, list[0].typ)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				text.WriteString(lines(answer))
			}
			return q.print(ctx, env, struct {
				outcome
				Steps []step `json:"steps"`
			}{outcomeOf(answer, err), steps}, text.String(), err)
		})
	}
}

// tell tells a step in a line: which server of which zone was asked what, and
// what came of it.
func tell(s dnsx.Step) string {
	result := string(s.Outcome)
	if s.Next != "" {
		result += " → " + s.Next
	}
	if s.Err != nil {
		result += " (" + s.Err.Error() + ")"
	}
	return fmt.Sprintf("%s%-16s %s (%s): %s %s? %s, %.1f ms\n", strings.Repeat("    ", s.Depth),
		s.Zone, s.Addr.Addr(), s.Server, s.Name, s.Type, result, float64(s.Took)/float64(time.Millisecond))
}

// A mailHost is one of dnsx, for JSON.
type mailHost struct {
	Name       string       `json:"name"`
	Preference uint16       `json:"preference"`
	Addresses  []netip.Addr `json:"addresses"`
}

func mx(fs *flag.FlagSet) cli.Action {
	q := questionFlags(fs)
	var local []string
	fs.Func("local", "a `name or address` of our own, to which we do not send; may be given several times", func(s string) error {
		local = append(local, s)
		return nil
	})
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("one domain, not %d", len(env.Args))
		}
		domain := env.Args[0]
		return q.ask(ctx, func(ctx context.Context, service *names.Service) error {
			resolver := service.Resolver(nil)
			defer resolver.Close()
			route, err := dnsx.MailHosts(ctx, resolver, domain, local...)
			if route == nil {
				return cli.Usagef("-local: %v", err)
			}
			result := struct {
				Status string     `json:"status"`
				Reason string     `json:"reason"`
				Detail string     `json:"detail,omitempty"`
				Hosts  []mailHost `json:"hosts"`
			}{Status: "ok", Hosts: []mailHost{}}
			var text strings.Builder
			if e, ok := errors.AsType[*dnsx.MailError](err); ok {
				result.Status, result.Reason, result.Detail = "permanent", string(e.Reason), e.Error()
				if e.Temporary() {
					result.Status = "temporary"
				} else {
					fmt.Fprintf(&text, "no mail for %s: %s\n", domain, e.Reason)
					err = nil
				}
			}
			for _, h := range route.Hosts {
				result.Hosts = append(result.Hosts, mailHost{h.Name, h.Preference, h.Addresses})
				fmt.Fprintf(&text, "%d %s %v\n", h.Preference, h.Name, h.Addresses)
			}
			return q.print(ctx, env, result, text.String(), err)
		})
	}
}

// A peerName is one of dnsx, for JSON.
type peerName struct {
	Name      string `json:"name"`
	Confirmed bool   `json:"confirmed"`
}

func reverse(fs *flag.FlagSet) cli.Action {
	q := questionFlags(fs)
	return func(ctx context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("one address, not %d", len(env.Args))
		}
		addr, err := netip.ParseAddr(env.Args[0])
		if err != nil {
			return cli.Usagef("%q is not an address", env.Args[0])
		}
		return q.ask(ctx, func(ctx context.Context, service *names.Service) error {
			resolver := service.Resolver(nil)
			defer resolver.Close()
			found, err := dnsx.LookupAddr(ctx, resolver, addr)
			result := struct {
				Status string     `json:"status"`
				Reason string     `json:"reason,omitempty"`
				Names  []peerName `json:"names"`
			}{Status: "temporary", Names: []peerName{}}
			if err != nil {
				result.Reason = err.Error()
			} else {
				result.Status = found.Status.String()
			}
			var text strings.Builder
			if found != nil {
				for _, n := range found.Names {
					result.Names = append(result.Names, peerName{n.Name, n.Confirmed})
					confirmed := "not confirmed: it does not lead back"
					if n.Confirmed {
						confirmed = "confirmed"
					} else if n.Err != nil {
						confirmed = "not known: " + n.Err.Error()
					}
					fmt.Fprintf(&text, "%s %s\n", n.Name, confirmed)
				}
				if len(found.Names) == 0 {
					fmt.Fprintf(&text, "%s has no name: %s\n", addr, found.Status)
				}
			}
			return q.print(ctx, env, result, text.String(), err)
		})
	}
}
