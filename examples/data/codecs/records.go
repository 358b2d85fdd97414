package main

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// class makes n students, always the same.
func class(n int) []student {
	dice := rand.New(rand.NewPCG(1605, 1615))
	names := []string{"Alonso", "Aldonza", "Sancho", "Teresa", "Dorotea", "Cardenio", "Luscinda", "Fernando", "Marcela", "Grisóstomo", "Ginés", "Zoraida"}
	families := []string{"Quijano", "Lorenzo", "Panza", "Cascajo", "Carrasco", "Pérez", "de Pasamonte", "de Viedma", "Haldudo", "Tocho"}
	list := make([]student, n)
	for i := range list {
		s := student{
			Name:  names[dice.IntN(len(names))] + " " + families[dice.IntN(len(families))],
			ID:    uint32(20_000_000 + dice.IntN(10_000_000)),
			Grade: math.Round(dice.Float64()*1000) / 100,
			Paid:  dice.IntN(4) > 0,
		}
		for range dice.IntN(3) {
			s.Phones = append(s.Phones, 900_000_000+dice.Int64N(100_000_000))
		}
		list[i] = s
	}
	return list
}

// same compares two classes.
func same(a, b []student) bool {
	return slices.EqualFunc(a, b, func(x, y student) bool {
		return x.Name == y.Name && x.ID == y.ID && x.Grade == y.Grade && x.Paid == y.Paid && slices.Equal(x.Phones, y.Phones)
	})
}

// A notation is a way to write a class.
type notation struct {
	name   string
	encode func([]student) ([]byte, error)
	decode func([]byte) ([]student, error)
}

func notations() []notation {
	const limit = 256 << 20
	with := func(c codec.Codec) notation {
		return notation{c.Name(), func(list []student) ([]byte, error) { return c.Marshal(list) }, func(data []byte) (list []student, err error) {
			err = c.Unmarshal(data, &list)
			return list, err
		}}
	}
	return []notation{
		{"CSV", toCSV, fromCSV},
		with(codec.JSON{MaxSize: limit}),
		with(codec.MessagePack{MaxSize: limit, MaxValues: limit}),
		with(codec.Gob{MaxSize: limit}),
		{"by hand, binary", toBinary, fromBinary},
	}
}

func toCSV(list []student) ([]byte, error) {
	var b strings.Builder
	w := csv.NewWriter(&b)
	for _, s := range list {
		phones := make([]string, len(s.Phones))
		for i, p := range s.Phones {
			phones[i] = strconv.FormatInt(p, 10)
		}
		w.Write([]string{
			s.Name, strconv.FormatUint(uint64(s.ID), 10), strings.Join(phones, " "),
			strconv.FormatFloat(s.Grade, 'g', -1, 64), strconv.FormatBool(s.Paid),
		})
	}
	w.Flush()
	return []byte(b.String()), w.Error()
}

func fromCSV(data []byte) ([]student, error) {
	r := csv.NewReader(strings.NewReader(string(data)))
	r.FieldsPerRecord = 5
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	list := make([]student, len(rows))
	for i, row := range rows {
		s := student{Name: row[0]}
		id, err1 := strconv.ParseUint(row[1], 10, 32)
		for p := range strings.FieldsSeq(row[2]) {
			n, err := strconv.ParseInt(p, 10, 64)
			if err != nil {
				return nil, err
			}
			s.Phones = append(s.Phones, n)
		}
		var err2, err3 error
		s.Grade, err2 = strconv.ParseFloat(row[3], 64)
		s.Paid, err3 = strconv.ParseBool(row[4])
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		s.ID = uint32(id)
		list[i] = s
	}
	return list, nil
}

// toBinary writes what the receiver knows the shape of: no names of fields, no
// types. A string has its length before it, in two bytes, a list its length in
// one; numbers are in the network's order.
func toBinary(list []student) ([]byte, error) {
	var out []byte
	for _, s := range list {
		if len(s.Name) > math.MaxUint16 || len(s.Phones) > math.MaxUint8 {
			return nil, fmt.Errorf("%s: a name or a list of phones that is too long", s.Name)
		}
		out = binary.BigEndian.AppendUint16(out, uint16(len(s.Name)))
		out = append(out, s.Name...)
		out = binary.BigEndian.AppendUint32(out, s.ID)
		out = append(out, byte(len(s.Phones)))
		for _, p := range s.Phones {
			out = binary.BigEndian.AppendUint64(out, uint64(p))
		}
		out = binary.BigEndian.AppendUint64(out, math.Float64bits(s.Grade))
		out = append(out, 0)
		if s.Paid {
			out[len(out)-1] = 1
		}
	}
	return out, nil
}

var errCut = errors.New("the data ends inside a student")

func fromBinary(data []byte) (list []student, err error) {
	take := func(n int) []byte {
		if n > len(data) {
			err = errCut
			return make([]byte, n)
		}
		b := data[:n]
		data = data[n:]
		return b
	}
	for len(data) > 0 {
		var s student
		s.Name = string(take(int(binary.BigEndian.Uint16(take(2)))))
		s.ID = binary.BigEndian.Uint32(take(4))
		for range take(1)[0] {
			s.Phones = append(s.Phones, int64(binary.BigEndian.Uint64(take(8))))
		}
		s.Grade = math.Float64frombits(binary.BigEndian.Uint64(take(8)))
		s.Paid = take(1)[0] != 0
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func records(fs *flag.FlagSet) cli.Action {
	many := cli.Number(fs, "many", 1000, 1, 100_000, "so `many` records")
	spend := cli.Number(fs, "time", 50*time.Millisecond, time.Millisecond, time.Minute, "measure each step for this `time`")
	return func(ctx context.Context, env *cli.Env) error {
		students := class(*many)
		squeeze, err := codec.Lookup("zlib")
		if err != nil {
			return err
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%d students such as %+v:\n", *many, students[0])
		w := table(&b)
		fmt.Fprintf(w, "notation\tbytes\teach\tzlib\tencode, µs each\tdecode, µs each\tthe first\n")
		for _, n := range notations() {
			data, err := n.encode(students)
			if err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			back, err := n.decode(data)
			if err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			if !same(back, students) {
				return fmt.Errorf("%s: other students came back", n.name)
			}
			small, err := squeeze.Encode(data)
			if err != nil {
				return err
			}
			one, err := n.encode(students[:1])
			if err != nil {
				return err
			}
			encode := measure(ctx, *spend, func() { _, err = n.encode(students) })
			decode := measure(ctx, *spend, func() { _, err = n.decode(data) })
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(*many) }
			fmt.Fprintf(w, "%s\t%d\t%.1f\t%d\t%.2f\t%.2f\t%.36q\n",
				n.name, len(data), float64(len(data))/float64(*many), len(small), each(encode), each(decode), one)
		}
		w.Flush()

		fmt.Fprintf(&b, "\nNumbers alone, each as text with a separator, and in eight bytes:\n")
		w = table(&b)
		dice := rand.New(rand.NewPCG(1, 2))
		for _, row := range []struct {
			name string
			next func() float64
		}{
			{"0 to 9", func() float64 { return float64(dice.IntN(10)) }},
			{"up to a million", func() float64 { return float64(dice.IntN(1_000_000)) }},
			{"measurements", dice.Float64},
		} {
			words, raw := 0, 0
			for range *many {
				x := row.next()
				words += len(strconv.FormatFloat(x, 'g', -1, 64)) + 1
				raw += 8
			}
			fmt.Fprintf(w, "%s\t%.1f bytes as text\t%.1f in binary\n", row.name, float64(words)/float64(*many), float64(raw)/float64(*many))
		}
		w.Flush()
		_, err = fmt.Fprint(env.Stdout, b.String())
		return err
	}
}

// measure returns the shortest time that f took, of as many times as fit into
// spend and at least three: what is longer was disturbed by something else.
func measure(ctx context.Context, spend time.Duration, f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	start := time.Now()
	for i := 0; ctx.Err() == nil && (i < 3 || time.Since(start) < spend); i++ {
		before := time.Now()
		f()
		best = min(best, time.Since(before))
	}
	return best
}
