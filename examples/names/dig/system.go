package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// system shows the way of a name through the operating system's resolver:
// first the hosts file, then the servers of resolv.conf, for the name as it is
// and with each suffix of the search list.
func system(set *flag.FlagSet) cli.Action {
	hosts := set.String("hosts", "/etc/hosts", "the hosts `file`")
	resolv := set.String("resolv", "/etc/resolv.conf", "the `file` with servers and search list")
	return func(_ context.Context, env *cli.Env) error {
		if len(env.Args) != 1 {
			return cli.Usagef("one NAME is wanted (dig system -h shows the usage)")
		}
		name := env.Args[0]
		if _, err := dnsx.ParseName(name); err != nil {
			return cli.Usagef("%q is not a domain name", name)
		}
		var b strings.Builder
		lines, err := hostsLines(*hosts, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "1. %s\n", *hosts)
		if len(lines) == 0 {
			fmt.Fprintf(&b, "   says nothing of %s\n", name)
		}
		for _, line := range lines {
			fmt.Fprintf(&b, "   %s   <- the search ends here\n", line)
		}

		text, err := readSmall(*resolv)
		if err != nil {
			return err
		}
		stub, err := dnsx.ParseResolvConf(bytes.NewReader(text))
		if err != nil {
			return err
		}
		candidates, err := stub.Candidates(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "2. %s: the servers are asked in this order, for each name\n", *resolv)
		for _, server := range stub.Servers {
			fmt.Fprintf(&b, "   server %s\n", server.Addr())
		}
		fmt.Fprintf(&b, "3. the names, until one has an answer (ndots %d, search %s)\n", max(stub.Ndots, 1), strings.Join(append([]string{}, stub.Search...), " "))
		for _, candidate := range candidates {
			fmt.Fprintf(&b, "   %s\n", candidate)
		}
		_, err = fmt.Fprint(env.Stdout, b.String())
		return err
	}
}

// readSmall reads a file of at most 1 MiB; one that does not exist is empty.
func readSmall(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if len(text) > 1<<20 {
		return nil, fmt.Errorf("%s: more than a mebibyte", file)
	}
	return text, err
}

// hostsLines returns the lines of a hosts file that name a host.
func hostsLines(file, name string) (lines []string, err error) {
	text, err := readSmall(file)
	if err != nil {
		return nil, err
	}
	name = strings.TrimSuffix(name, ".")
	for scanner := bufio.NewScanner(bytes.NewReader(text)); scanner.Scan(); {
		line, _, _ := strings.Cut(scanner.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) > 1 && slices.ContainsFunc(fields[1:], func(f string) bool { return strings.EqualFold(f, name) }) {
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	return lines, nil
}
