// Package transactions tests, with real processes, what people do with transactions and with
// the history of objects: pintle apply --atomic, history and undelete, and that nobody who
// reads, whenever the server dies, sees a part of a transaction.
package transactions
