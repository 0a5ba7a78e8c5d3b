package actors

// Start is start, for tests from outside that bring devices of their own.
var Start = start
