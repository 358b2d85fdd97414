package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/zocalo-go/zocalo/codec"
)

// formatNames are the choices of -codec.
var formatNames = []string{"json", "msgpack", "gob", "xml", "protobuf"}

// lookup returns the format of that name: one of package codec, or one of the
// two here, which need no more than the three methods of a codec.Codec.
func lookup(name string) (codec.Codec, error) {
	switch name {
	case "xml":
		return xmlCodec{}, nil
	case "protobuf":
		return newProtobuf()
	}
	return codec.LookupCodec(name)
}

// xmlCodec is package encoding/xml with a strict beginning and end: a document
// is one element, called as the type that it holds.
type xmlCodec struct{}

func (xmlCodec) Name() string { return "xml" }

func (xmlCodec) Marshal(v any) ([]byte, error) { return xml.Marshal(v) }

func (xmlCodec) Unmarshal(data []byte, v any) error {
	want := reflect.Indirect(reflect.ValueOf(v)).Type().Name()
	d := xml.NewDecoder(bytes.NewReader(data))
	found := false
	for {
		token, err := d.Token()
		switch t := token.(type) {
		case nil:
			if err == io.EOF && found {
				return nil
			}
			return fmt.Errorf("xml: %w", err)
		case xml.StartElement:
			if found || t.Name.Local != want {
				return fmt.Errorf("xml: an element %q, where one %q is to be", t.Name.Local, want)
			}
			found = true
			if err := d.DecodeElement(v, &t); err != nil {
				return fmt.Errorf("xml: %w", err)
			}
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return errors.New("xml: text outside the document")
			}
		}
	}
}

// A protobuf is Protocol Buffers for one type, Answer, whose schema is this:
//
//	syntax = "proto3";
//	message Student { string name = 1; int64 id = 2; string phone = 3; }
//	message Answer  { Student student = 1; string error = 2; }
//
// Programs usually have code generated from it. Here the official library builds
// the message types when the program starts.
type protobuf struct {
	answer, student protoreflect.MessageDescriptor
}

func newProtobuf() (protobuf, error) {
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: &name, Number: &number, Type: &kind,
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	const (
		text    = descriptorpb.FieldDescriptorProto_TYPE_STRING
		number  = descriptorpb.FieldDescriptorProto_TYPE_INT64
		message = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	student := field("student", 1, message)
	student.TypeName = new(".students.Student")
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: new("students.proto"), Package: new("students"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: new("Student"), Field: []*descriptorpb.FieldDescriptorProto{
				field("name", 1, text), field("id", 2, number), field("phone", 3, text),
			}},
			{Name: new("Answer"), Field: []*descriptorpb.FieldDescriptorProto{
				student, field("error", 2, text),
			}},
		},
	}, nil)
	if err != nil {
		return protobuf{}, err
	}
	return protobuf{file.Messages().ByName("Answer"), file.Messages().ByName("Student")}, nil
}

func (protobuf) Name() string { return "protobuf" }

func (p protobuf) Marshal(v any) ([]byte, error) {
	a, ok := v.(*Answer)
	if !ok {
		return nil, fmt.Errorf("protobuf: the schema has no %T", v)
	}
	answer := dynamicpb.NewMessage(p.answer)
	if a.Student != nil {
		student := dynamicpb.NewMessage(p.student)
		student.Set(p.student.Fields().ByNumber(1), protoreflect.ValueOfString(a.Student.Name))
		student.Set(p.student.Fields().ByNumber(2), protoreflect.ValueOfInt64(a.Student.ID))
		student.Set(p.student.Fields().ByNumber(3), protoreflect.ValueOfString(a.Student.Phone))
		answer.Set(p.answer.Fields().ByNumber(1), protoreflect.ValueOfMessage(student))
	}
	answer.Set(p.answer.Fields().ByNumber(2), protoreflect.ValueOfString(a.Error))
	return proto.MarshalOptions{Deterministic: true}.Marshal(answer)
}

func (p protobuf) Unmarshal(data []byte, v any) error {
	a, ok := v.(*Answer)
	if !ok {
		return fmt.Errorf("protobuf: the schema has no %T", v)
	}
	answer := dynamicpb.NewMessage(p.answer)
	if err := (proto.UnmarshalOptions{RecursionLimit: 10}).Unmarshal(data, answer); err != nil {
		return fmt.Errorf("protobuf: %w", err)
	}
	// Fields that the schema does not know are for programs of the future, and
	// are skipped. But a message of nothing else is of another kind: on the
	// wire a Protocol Buffer does not say what it is.
	if unknown := answer.GetUnknown(); len(unknown) > 0 && len(unknown) == len(data) {
		number, _, _ := protowire.ConsumeField(unknown)
		return fmt.Errorf("protobuf: no field that the schema knows; the first is number %d", number)
	}
	*a = Answer{Error: answer.Get(p.answer.Fields().ByNumber(2)).String()}
	if field := p.answer.Fields().ByNumber(1); answer.Has(field) {
		student := answer.Get(field).Message()
		a.Student = &Student{
			Name:  student.Get(p.student.Fields().ByNumber(1)).String(),
			ID:    student.Get(p.student.Fields().ByNumber(2)).Int(),
			Phone: student.Get(p.student.Fields().ByNumber(3)).String(),
		}
	}
	return nil
}
