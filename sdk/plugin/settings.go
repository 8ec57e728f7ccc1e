package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	kjson "sigs.k8s.io/json"
)

// DecodeSettings decodes the settings that Configure gets into a pointer to a struct, in
// which the caller has set the defaults; a field that is not in raw keeps its own, and where
// raw is empty or null they all do.
//
// It is strict, so that a misspelt setting is not a setting that silently does nothing. Each
// of these is an error:
//
//   - a field that into does not have; names are compared with their case
//   - a field that is there twice
//   - a value of another type than the field's
//   - anything after the object
//
// Errors name fields by their path within the settings, such as "pools[1].size". After an
// error, into may have been set in part. Whether values make sense is for the caller to check.
func DecodeSettings(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	var value json.RawMessage
	switch err := d.Decode(&value); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("not valid JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	if bytes.Equal(value, []byte("null")) {
		return nil
	}
	if value[0] != '{' {
		return errors.New("must be an object")
	}
	strict, err := kjson.UnmarshalStrict(value, into)
	if err == nil {
		return oneLine(strict)
	}
	// The error of the strict decoder has a type that cannot be named, this one's can.
	var mismatch *json.UnmarshalTypeError
	if errors.As(json.Unmarshal(value, into), &mismatch) && mismatch.Field != "" {
		return fmt.Errorf("%s: must be %s, is %s", mismatch.Field, jsonType(mismatch.Type), mismatch.Value)
	}
	return err
}

// oneLine joins errors as they are shown in one line of a log or a condition.
func oneLine(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

// jsonType names the JSON that a Go type is decoded from.
func jsonType(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("an integer of %d bits", t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("an integer of %d bits that is not negative", t.Bits())
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}
