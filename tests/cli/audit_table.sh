# A table of runs: the paper's own, one that holds, one with faults, and what cannot be shown.
isomoe audit --table "$source/configs/paper/runs.csv" >audit.txt 2>audit.err
echo "[exit $?]"
cat audit.err audit.txt
echo "lines in full: $(isomoe audit --table "$source/configs/paper/runs.csv" --all 2>/dev/null | wc -l)"
isomoe audit --table "$source/configs/paper/runs.csv" --verbose 2>&1
cat >pair.csv <<'END'
name,params,params_active,train_flops_per_token,tokens,unique_tokens,lr
dense,2.15B,2.15B,1.44e10,65B,65B,8.44e-4
moe,2.15B,429M,3.13e9,299B,65B,2.7e-3
END
run isomoe audit --table pair.csv
run isomoe audit --table pair.csv --require strict | tail -2
cat >mixed.csv <<'END'
comparison,name,params,params_active,train_flops_per_token,tokens,unique_tokens
fine,dense,2.15B,2.15B,1.44e10,65B,65B
fine,moe,2.15B,429M,3.13e9,299B,65B
fine,moe-own,2.15B,429M,3.13e9,299B,299B
off,dense,2.15B,2.15B,1.44e10,65B,65B
off,moe,2.25B,429M,3.13e9,299B,65B
END
run isomoe audit --table mixed.csv
isomoe audit --table pair.csv --json | grep -E '"verdict": |"comparison"|"not_shown"' | head -3
cat >faults.csv <<'END'
name,params,train_flops_per_token,tokens,unique_token
dense,2.15B,lots,65B,65B
moe,-1,3.13e9,299B
END
run isomoe audit --table faults.csv
run isomoe audit --table nowhere.csv
run isomoe audit --table pair.csv runs/dense
run isomoe audit
