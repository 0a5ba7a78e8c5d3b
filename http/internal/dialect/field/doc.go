// Package field reads a request's JSON strictly: value.go walks it without
// decoding it twice, table.go has the fields of a kind of request in a table,
// each with its type and its bounds, so that what is wrong is said by the
// field's name.
package field
