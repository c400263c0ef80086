// A padded read becomes a masked load; no lane outside is touched.
// run: lower vectorize hoist
// kernel k(x: f32[40]) -> (y):
//   y[i in 0:48] := x[i - 4 else 0.5]
// expect:
// module {
//   func.func @k(%x: memref<?xf32>, %y: memref<?xf32>, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c48 = arith.constant 48 : index
//     %c1 = arith.constant 1 : index
//     %c4 = arith.constant 4 : index
//     %c40 = arith.constant 40 : index
//     %cst = arith.constant 0.0 : f32
//     %cst_1 = arith.constant 0.5 : f32
//     %c32 = arith.constant 32 : index
//     %0 = "vector.step"() : () -> vector<16xindex>
//     %1 = vector.broadcast %c40 : index to vector<16xindex>
//     %cst_2 = arith.constant dense<0.0> : vector<16xf32>
//     %2 = vector.broadcast %cst : f32 to vector<16xf32>
//     %3 = vector.broadcast %cst_1 : f32 to vector<16xf32>
//     %c16 = arith.constant 16 : index
//     scf.for %i = %c0 to %c32 step %c32 {
//       %4 = arith.subi %i, %c4 : index
//       %5 = vector.broadcast %4 : index to vector<16xindex>
//       %6 = arith.addi %5, %0 : vector<16xindex>
//       %7 = arith.cmpi ult, %6, %1 : vector<16xindex>
//       %8 = vector.maskedload %x[%4], %7, %cst_2 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
//       %9 = arith.select %7, %8, %2 : vector<16xi1>, vector<16xf32>
//       %10 = arith.select %7, %9, %3 : vector<16xi1>, vector<16xf32>
//       vector.store %10, %y[%i] : memref<?xf32>, vector<16xf32>
//       %11 = arith.addi %i, %c16 : index
//       %12 = arith.subi %11, %c4 : index
//       %13 = vector.broadcast %12 : index to vector<16xindex>
//       %14 = arith.addi %13, %0 : vector<16xindex>
//       %15 = arith.cmpi ult, %14, %1 : vector<16xindex>
//       %16 = vector.maskedload %x[%12], %15, %cst_2 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
//       %17 = arith.select %15, %16, %2 : vector<16xi1>, vector<16xf32>
//       %18 = arith.select %15, %17, %3 : vector<16xi1>, vector<16xf32>
//       vector.store %18, %y[%11] : memref<?xf32>, vector<16xf32>
//       scf.yield
//     }
//     scf.for %i_1 = %c32 to %c48 step %c16 {
//       %19 = arith.subi %i_1, %c4 : index
//       %20 = vector.broadcast %19 : index to vector<16xindex>
//       %21 = arith.addi %20, %0 : vector<16xindex>
//       %22 = arith.cmpi ult, %21, %1 : vector<16xindex>
//       %23 = vector.maskedload %x[%19], %22, %cst_2 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
//       %24 = arith.select %22, %23, %2 : vector<16xi1>, vector<16xf32>
//       %25 = arith.select %22, %24, %3 : vector<16xi1>, vector<16xf32>
//       vector.store %25, %y[%i_1] : memref<?xf32>, vector<16xf32>
//       scf.yield
//     }
//     func.return
//   }
// }
