# A batch that Livy is told to run: what is here is never run, as its spark-submit only waits.
