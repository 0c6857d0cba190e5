lr = 1
root = '{{$MM2PL_TEST_UNSET:}}'
