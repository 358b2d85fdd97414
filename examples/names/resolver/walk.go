package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/lab/names"
)

// question reads the arguments: a name, and perhaps a type.
func question(args []string) (name string, typ dnsx.Type, err error) {
	if len(args) == 0 || len(args) > 2 {
		return "", 0, cli.Usagef("a name and perhaps a type, such as: www.example.com AAAA")
	}
	if name, err = dnsx.ParseName(args[0]); err != nil {
		return "", 0, cli.Usagef("%q is not a domain name", args[0])
	}
	typ = dnsx.A
	if len(args) == 2 {
		if typ, err = dnsx.ParseType(args[1]); err != nil {
			return "", 0, cli.Usagef("%q is not a type of records; A, AAAA, MX, NS, SOA and TXT are some", args[1])
		}
	}
	return name, typ, nil
}

func walk(fs *flag.FlagSet) cli.Action {
	flags := names.AddFlags(fs, "port")
	limit := cli.Number(fs, "timeout", 20*time.Second, time.Millisecond, time.Hour, "take at most so much `time`")
	return func(ctx context.Context, env *cli.Env) error {
		name, typ, err := question(env.Args)
		if err != nil {
			return err
		}
		service, err := flags.Open()
		if err != nil {
			return err
		}
		defer service.Close()
		resolver, err := service.Iterative(&dnsx.Trace{Step: func(s dnsx.Step) { fmt.Fprintln(env.Stdout, line(s)) }})
		if err != nil {
			return cli.Usagef("%v", err)
		}
		resolver.Timeout = *limit
		fmt.Fprintf(env.Stdout, "%s %s?\n", name, typ)
		answer, err := resolver.Resolve(ctx, name, typ)
		if err != nil {
			return err
		}
		return tell(env.Stdout, answer)
	}
}

// line shows a step in one line, further to the right if it is about the
// address of a name server.
func line(s dnsx.Step) string {
	indent := strings.Repeat("  │", s.Depth)
	text := fmt.Sprintf("%s  ├─ %-*s %-30s %7s  ", indent, 18-3*s.Depth, s.Zone,
		fmt.Sprintf("%s %s", s.Server, s.Addr.Addr()), s.Took.Round(10*time.Microsecond))
	if s.Depth > 0 {
		text += fmt.Sprintf("%s %s? ", s.Name, s.Type)
	}
	switch s.Outcome {
	case dnsx.OutcomeReferral:
		return text + "referral to " + s.Next
	case dnsx.OutcomeAlias:
		return text + "alias of " + s.Next
	case dnsx.OutcomeAnswer, dnsx.OutcomeNoData, dnsx.OutcomeNXDomain:
		return text + string(s.Outcome)
	}
	return text + fmt.Sprintf("%s: %v", s.Outcome, s.Err)
}

// tell prints an answer as lines of a zone file.
func tell(w io.Writer, answer *dnsx.Answer) error {
	var b strings.Builder
	for _, r := range answer.Records {
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(r.String(), "\t", " "))
	}
	switch answer.Status {
	case dnsx.NoData:
		fmt.Fprintf(&b, "  %s exists, and has no records of type %s\n", answer.Canonical, answer.Type)
	case dnsx.NXDomain:
		fmt.Fprintf(&b, "  %s does not exist\n", answer.Canonical)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
